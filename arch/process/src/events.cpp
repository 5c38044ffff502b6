#include <algorithm>
#include <array>

#include "arch/host_calls.hpp"
#include "arch/host_events.hpp"
#include "arch/startup.hpp"
#include "arch/timer.hpp"
#include "arch/upcalls.hpp"
#include "process.hpp"

namespace aril::arch {
namespace {

constexpr size_t kMaxWatches = 16;
/// As Linux's pollfd and timespec.
struct PollEntry {
  int descriptor;
  short events, returned;
};
struct HostTime {
  int64_t seconds, nanoseconds;
};
constexpr int64_t kNsPerSecond = 1'000'000'000;

constinit std::array<std::atomic<HostWatch*>, kMaxWatches> watches{};
constinit std::atomic<unsigned> watch_count{0};
/// The CPU that sleeps on the descriptors, plus 1; the other idle ones sleep on nothing.
constinit std::atomic<unsigned> sleeper{0};
constinit std::atomic<void (*)(int)> signal_handler{nullptr};
/// Of the program's signals, as bits: those that came before there was a handler.
constinit std::atomic<uint32_t> early_signals{0};

/// The armed watches, and the host's entries for them.
struct Poll {
  std::array<HostWatch*, kMaxWatches> watched;
  std::array<PollEntry, kMaxWatches> entries;
  unsigned count = 0;

  void collect() {
    for (unsigned i = 0; i < watch_count.load(std::memory_order_acquire); ++i) {
      HostWatch* watch = watches[i].load(std::memory_order_relaxed);
      // Sequentially consistent, after `sleeper` was set: arm() either is seen here or sees that.
      if (!watch->armed.load()) continue;
      watched[count] = watch;
      entries[count++] = {watch->descriptor, watch->events, 0};
    }
  }
  void call_handlers() {
    for (unsigned i = 0; i < count; ++i) {
      if (entries[i].returned != 0 && watched[i]->armed.exchange(false))
        watched[i]->handler(watched[i]->argument);
    }
  }
};

/// Interrupt context for a scope.
class InInterrupt {
 public:
  InInterrupt() { ++this_cpu().interrupt_depth; }
  ~InInterrupt() { --this_cpu().interrupt_depth; }
};

void deliver_program_signals(uint32_t pending) {
  auto handler = signal_handler.load();
  if (handler == nullptr) {
    // Sequentially consistent: either set_signal_handler sees them, or its handler is seen here.
    early_signals.fetch_or(pending);
    handler = signal_handler.load();
    if (handler == nullptr) return;
    pending = early_signals.exchange(0);
  }
  for (int signal : kProcessSignals) {
    if (signal < kTimerSignal && (pending & program_signal_bit(signal)) != 0) handler(signal);
  }
}

void sleep(Poll& poll) {
  Instant deadline = timer_deadline();
  HostTime limit{};
  if (deadline != Instant::never()) {
    int64_t left = std::max<int64_t>((deadline - monotonic_now()).ns, 0);
    limit = {left / kNsPerSecond, left % kNsPerSecond};
  }
  int64_t ready = host_wait(HostCall::kPpoll, poll.entries.data(), poll.count,
                            deadline != Instant::never() ? &limit : nullptr, 0, 0);
  if (ready <= 0) poll.count = 0;
}

}  // namespace

void add_watch(HostWatch& watch) {
  unsigned index = watch_count.load(std::memory_order_relaxed);
  if (index == kMaxWatches) report_host_failure("too many devices", 0);
  watches[index].store(&watch, std::memory_order_relaxed);
  // Release: whoever sees the count sees the watch.
  watch_count.store(index + 1, std::memory_order_release);
}

void arm(HostWatch& watch) {
  watch.armed.store(true);
  unsigned cpu = sleeper.load();
  if (cpu == 0) return ensure_tick();
  if (cpu - 1 != cpu_index()) kick(cpu - 1);
}

void set_signal_handler(void (*handler)(int)) {
  signal_handler = handler;
  InterruptGuard guard;
  InInterrupt scope;
  deliver_program_signals(early_signals.exchange(0));
}

bool look_at_watches() {
  Poll poll;
  poll.collect();
  if (poll.count == 0) return false;
  const HostTime now{};
  if (host_call(HostCall::kPpoll, poll.entries.data(), poll.count, &now, 0, 0) > 0)
    poll.call_handlers();
  // Also where all were ready: those that are armed again need no second setting of the timer then.
  return true;
}

void handle_interrupts(uint32_t pending) {
  InInterrupt scope;
  if ((pending & kTimerInterrupt) != 0) on_host_timer();
  deliver_program_signals(pending);
  // A kick needs no more than having come: the flag is set already.
}

void wait_for_interrupt() {
  CpuBlock& cpu = this_cpu();
  Poll poll;
  stop_tick();
  unsigned nobody = 0;
  bool is_sleeper = sleeper.compare_exchange_strong(nobody, cpu.index + 1);
  if (is_sleeper) poll.collect();
  sleep(poll);
  if (is_sleeper) sleeper.store(0);
  {
    InInterrupt scope;
    poll.call_handlers();
    run_due_timer();
  }
  uint32_t pending = __atomic_exchange_n(&cpu.interrupts_pending, 0, __ATOMIC_RELAXED);
  if (pending != 0) handle_interrupts(pending);
  if (cpu.reschedule_needed != 0) start_tick();
}

void kick(unsigned cpu) {
  const ProcessBoot& boot = boot_information();
  static_cast<void>(
      host_call(HostCall::kTgkill, boot.process_id, boot.thread_ids[cpu], kKickSignal));
}

void send_reschedule(unsigned cpu) { kick(cpu); }

}  // namespace aril::arch
