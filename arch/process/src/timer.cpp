#include "arch/timer.hpp"

#include <algorithm>

#include "arch/startup.hpp"
#include "arch/upcalls.hpp"
#include "process.hpp"

namespace aril::arch {
namespace {

/// How long descriptors that somebody waits for are not looked at while the CPU has other work.
constexpr Duration kTick = Duration::milliseconds(2);
constexpr int64_t kNsPerSecond = 1'000'000'000;

/// As Linux's itimerspec.
struct HostTimer {
  int64_t interval_seconds, interval_nanoseconds, seconds, nanoseconds;
};

/// One CPU's; touched by that CPU alone, with interrupts disabled.
struct CpuTimer {
  Instant deadline = Instant::never();
  /// What the host's timer is set to. May be earlier than needed: setting it is a host call, so
  /// that a later deadline leaves it, and when it fires too early it is set again.
  Instant armed = Instant::never();
  bool ticks = true;
};
constinit CpuTimer timers[kMaxCpus] = {};

CpuTimer& timer_here() { return timers[cpu_index()]; }

void arm_host(CpuTimer& timer, Instant at) {
  if (at >= timer.armed) return;
  timer.armed = at;
  const ProcessBoot& boot = boot_information();
  // As time from now: the two clocks drift apart, by milliseconds in an hour, and a moment that has
  // passed for the host but not here would come again and again. 0 would mean none.
  int64_t left = std::max<int64_t>((at - monotonic_now()).ns, 1);
  const HostTimer setting{0, 0, left / kNsPerSecond, left % kNsPerSecond};
  constexpr int kRelative = 0;
  static_cast<void>(
      host_call(HostCall::kTimerSettime, boot.timer_ids[cpu_index()], kRelative, &setting, 0));
}

}  // namespace

void set_timer(Instant deadline) {
  CpuTimer& timer = timer_here();
  timer.deadline = deadline;
  if (deadline != Instant::never()) arm_host(timer, deadline);
}

Instant timer_deadline() { return timer_here().deadline; }

void run_due_timer() {
  CpuTimer& timer = timer_here();
  if (timer.deadline == Instant::never() || monotonic_now() < timer.deadline) return;
  timer.deadline = Instant::never();
  aril_on_timer_interrupt();
}

void on_host_timer() {
  CpuTimer& timer = timer_here();
  timer.armed = Instant::never();
  run_due_timer();
  bool is_watching = look_at_watches();
  if (timer.deadline != Instant::never()) arm_host(timer, timer.deadline);
  if (timer.ticks && is_watching) arm_host(timer, monotonic_now() + kTick);
}

void stop_tick() { timer_here().ticks = false; }

void start_tick() {
  CpuTimer& timer = timer_here();
  timer.ticks = true;
  arm_host(timer, monotonic_now() + kTick);
}

void ensure_tick() {
  InterruptGuard guard;
  CpuTimer& timer = timer_here();
  if (timer.ticks) arm_host(timer, monotonic_now() + kTick);
}

}  // namespace aril::arch
