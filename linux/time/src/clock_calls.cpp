#include <algorithm>

#include "linux/abi/syscall.hpp"
#include "linux/abi/time.hpp"
#include "linux/process/process.hpp"
#include "linux/vdso/vdso.hpp"

/// Reading, setting and sleeping on clocks.
namespace aril::linux_abi {

/// linux/event: timerfds on the realtime clock. Null without it.
[[gnu::weak]] void realtime_clock_was_set();

namespace {

// CPU-time clocks of other tasks: the id holds ~pid and the kind [linux/posix-timers.h].
constexpr int32_t kPerThreadFlag = 4;

Result<Duration> cpu_clock(int32_t id) {
  int pid = ~(id >> 3);
  if ((id & kPerThreadFlag) != 0) {
    RefPtr<Task> task = pid == 0 ? RefPtr<Task>(&current_task()) : process_table::find_task(pid);
    if (!task) return fail(Errno::kInval);
    return task->thread().cpu_time();
  }
  RefPtr<Process> process =
      pid == 0 ? RefPtr<Process>(&current_process()) : process_table::find_process(pid);
  if (!process) return fail(Errno::kInval);
  return process->cpu_time();
}

Result<Duration> read_clock(ClockId id) {
  switch (id) {
    case ClockId::kRealtime:
    case ClockId::kRealtimeCoarse:
    case ClockId::kRealtimeAlarm:
    case ClockId::kTai:
      return Duration{realtime_ns(now())};
    case ClockId::kMonotonic:
    case ClockId::kMonotonicRaw:
    case ClockId::kMonotonicCoarse:
    case ClockId::kBoottime:
    case ClockId::kBoottimeAlarm:
      return Duration{now().ns};
    case ClockId::kProcessCpu:
      return current_process().cpu_time();
    case ClockId::kThreadCpu:
      return current_task().thread().cpu_time();
  }
  int32_t raw = static_cast<int32_t>(id);
  if (raw < 0) return cpu_clock(raw);
  return fail(Errno::kInval);
}

Result<void> sys_clock_gettime(ClockId id, UserPtr<Timespec> out) {
  if (refresh_vdso_clock != nullptr) refresh_vdso_clock();
  return out.write(Timespec::from(ARIL_TRY(read_clock(id))));
}
ARIL_SYSCALL(228, clock_gettime, sys_clock_gettime, "clockid >timespec");

Result<void> sys_clock_getres(ClockId id, UserPtr<Timespec> out) {
  ARIL_TRY(read_clock(id));
  bool coarse = id == ClockId::kRealtimeCoarse || id == ClockId::kMonotonicCoarse;
  if (!out) return {};
  return out.write(Timespec{0, coarse ? 4'000'000 : 1});
}
ARIL_SYSCALL(229, clock_getres, sys_clock_getres, "clockid >timespec");

// How often the clock was set, and those who sleep until a point on it.
constinit std::atomic<uint64_t> clock_settings{0};
constinit WaitQueue clock_set;

Result<void> set_realtime(Duration since_epoch) {
  if (!current_task().credentials.can(Capability::kSysTime)) return fail(Errno::kPerm);
  set_realtime_offset_ns((since_epoch - Duration{now().ns}).ns);
  if (update_vdso_clock != nullptr) update_vdso_clock();
  clock_settings.fetch_add(1);
  clock_set.wake_all();
  if (realtime_clock_was_set != nullptr) realtime_clock_was_set();
  return {};
}

Result<void> sys_clock_settime(ClockId id, UserPtr<Timespec> in) {
  if (id != ClockId::kRealtime) return fail(Errno::kInval);
  return set_realtime(ARIL_TRY(read_timeout(in)));
}
ARIL_SYSCALL(227, clock_settime, sys_clock_settime, "clockid timespec");

struct TimeZone {
  int32_t minutes_west, dst;
};

Result<void> sys_gettimeofday(UserPtr<Timeval> time, UserPtr<TimeZone> zone) {
  if (time) ARIL_TRY(time.write(Timeval::from(Duration{realtime_ns(now())})));
  if (zone) return zone.write({0, 0});
  return {};
}
ARIL_SYSCALL(96, gettimeofday, sys_gettimeofday, ">ptr >ptr");

Result<void> sys_settimeofday(UserPtr<Timeval> time, UserPtr<TimeZone>) {
  if (!time) return {};
  Timeval value = ARIL_TRY(time.read());
  if (!value.is_valid()) return fail(Errno::kInval);
  return set_realtime(value.duration());
}
ARIL_SYSCALL(164, settimeofday, sys_settimeofday, "ptr ptr");

Result<int64_t> sys_time(UserPtr<int64_t> out) {
  int64_t seconds = Timespec::from_ns(realtime_ns(now())).seconds;
  if (out) ARIL_TRY(out.write(seconds));
  return seconds;
}
ARIL_SYSCALL(201, time, sys_time, ">ptr");

// Sleeps to `deadline`. When a signal with a handler ends a relative sleep, what is left is told;
// one without a handler lets it go on.
Result<void> sleep(Instant deadline, UserPtr<Timespec> remaining) {
  Task& task = current_task();
  task.never_restart = true;
  Result<void> slept = Thread::sleep_until(deadline, Interruptible::kYes);
  if (slept || !remaining) return slept;
  Duration left = std::max(deadline - now(), Duration{0});
  ARIL_TRY(remaining.write(Timespec::from(left)));
  return slept;
}

Instant relative_deadline(Duration duration) {
  Task& task = current_task();
  if (!task.restart_deadline) task.restart_deadline = now() + duration;
  return *task.restart_deadline;
}

Result<void> sys_nanosleep(UserPtr<Timespec> request, UserPtr<Timespec> remaining) {
  return sleep(relative_deadline(ARIL_TRY(read_timeout(request))), remaining);
}
ARIL_SYSCALL(35, nanosleep, sys_nanosleep, "timespec >timespec");

Result<void> sys_clock_nanosleep(ClockId id, uint32_t flags, UserPtr<Timespec> request,
                                 UserPtr<Timespec> remaining) {
  constexpr uint32_t kAbsolute = 1;
  bool realtime = id == ClockId::kRealtime || id == ClockId::kTai;
  if (!realtime && id != ClockId::kMonotonic && id != ClockId::kBoottime)
    return fail(id == ClockId::kThreadCpu ? Errno::kInval : Errno::kOpNotSupp);
  Duration time = ARIL_TRY(read_timeout(request));
  if ((flags & kAbsolute) == 0) return sleep(relative_deadline(time), remaining);
  // [clock_nanosleep(2)]: an absolute sleep is restarted after a handler with SA_RESTART too, but
  // Linux answers EINTR.
  if (!realtime) return sleep(Instant{time.ns}, UserPtr<Timespec>());
  current_task().never_restart = true;
  for (;;) {
    uint64_t setting = clock_settings.load();
    Result<void> waited = clock_set.wait_until([&] { return clock_settings.load() != setting; },
                                               instant_of_realtime(time));
    if (!waited && waited.error() == Errno::kTimedOut) return {};
    if (!waited) return waited;
  }
}
ARIL_SYSCALL(230, clock_nanosleep, sys_clock_nanosleep, "clockid op timespec >timespec");

/// struct timex, as far as it is filled in.
struct TimeAdjustment {
  uint32_t modes, padding0;
  int64_t offset, frequency, maximum_error, estimated_error;
  int32_t status, padding1;
  int64_t constant, precision, tolerance;
  Timeval time;
  int64_t tick, unused[8];
  int32_t tai, reserved[11];
};
static_assert(sizeof(TimeAdjustment) == 208);

Result<int64_t> read_adjustment(UserPtr<TimeAdjustment> pointer) {
  constexpr int64_t kTimeError = 5;  // not synchronised
  constexpr int32_t kUnsynchronised = 0x40;
  TimeAdjustment adjustment = ARIL_TRY(pointer.read());
  // Disciplining the clock is the host's business.
  if (adjustment.modes != 0) return fail(Errno::kPerm);
  adjustment = TimeAdjustment{};
  adjustment.maximum_error = adjustment.estimated_error = 16'000'000;
  adjustment.status = kUnsynchronised;
  adjustment.constant = 2;
  adjustment.precision = 1;
  adjustment.tolerance = 32'768'000;
  adjustment.time = Timeval::from(Duration{realtime_ns(now())});
  adjustment.tick = 10'000;
  ARIL_TRY(pointer.write(adjustment));
  return kTimeError;
}

Result<int64_t> sys_adjtimex(UserPtr<TimeAdjustment> pointer) { return read_adjustment(pointer); }
ARIL_SYSCALL(159, adjtimex, sys_adjtimex, "ptr");
Result<int64_t> sys_clock_adjtime(ClockId id, UserPtr<TimeAdjustment> pointer) {
  if (id != ClockId::kRealtime) return fail(Errno::kInval);
  return read_adjustment(pointer);
}
ARIL_SYSCALL(305, clock_adjtime, sys_clock_adjtime, "clockid ptr");

}  // namespace
}  // namespace aril::linux_abi
