#include "linux/abi/syscall.hpp"
#include "linux/abi/time.hpp"
#include "timer_set.hpp"

/// setitimer, alarm, and timer_create's family.
namespace aril::linux_abi {
namespace {

struct IntervalSetting {
  Timeval interval, value;
};

IntervalSetting to_interval(const SignalTimer::Setting& setting) {
  return {Timeval::from(setting.interval), Timeval::from(setting.remaining)};
}

Result<void> sys_setitimer(int which, UserPtr<IntervalSetting> wanted,
                           UserPtr<IntervalSetting> previous) {
  IntervalSetting setting{};
  if (wanted) setting = ARIL_TRY(wanted.read());
  if (!setting.interval.is_valid() || !setting.value.is_valid()) return fail(Errno::kInval);
  Process& process = current_process();
  TimerSet* set = ARIL_TRY(TimerSet::of(process));
  SignalTimer::Setting old;
  {
    LockGuard guard(set->mutex());
    SignalTimer* timer = ARIL_TRY(set->interval_timer(process, which));
    old = timer->set(setting.value.duration(), setting.interval.duration(),
                     SignalTimer::Start::kRelative);
  }
  if (previous) return previous.write(to_interval(old));
  return {};
}
ARIL_SYSCALL(38, setitimer, sys_setitimer, "int ptr >ptr");

Result<void> sys_getitimer(int which, UserPtr<IntervalSetting> out) {
  Process& process = current_process();
  TimerSet* set = ARIL_TRY(TimerSet::of(process));
  SignalTimer::Setting setting;
  {
    LockGuard guard(set->mutex());
    setting = ARIL_TRY(set->interval_timer(process, which))->get();
  }
  return out.write(to_interval(setting));
}
ARIL_SYSCALL(36, getitimer, sys_getitimer, "int >ptr");

Result<int64_t> sys_alarm(uint32_t seconds) {
  constexpr int kReal = 0;
  constexpr int64_t kHalfSecond = 500'000'000;
  Process& process = current_process();
  TimerSet* set = ARIL_TRY(TimerSet::of(process));
  LockGuard guard(set->mutex());
  SignalTimer* timer = ARIL_TRY(set->interval_timer(process, kReal));
  SignalTimer::Setting old =
      timer->set(Duration::seconds(seconds), Duration{}, SignalTimer::Start::kRelative);
  // Rounded to the nearest second, but never to "no alarm".
  int64_t left = Timespec::from_ns(old.remaining.ns + kHalfSecond).seconds;
  return old.remaining.ns > 0 && left == 0 ? 1 : left;
}
ARIL_SYSCALL(37, alarm, sys_alarm, "uint");

/// struct sigevent.
struct SignalEvent {
  uint64_t value;
  int32_t signal;
  int32_t notify;
  int32_t tid;
  int32_t padding[11];
};
static_assert(sizeof(SignalEvent) == 64);

Result<SignalTimer::Clock> timer_clock(ClockId id) {
  switch (id) {
    case ClockId::kRealtime:
    case ClockId::kRealtimeAlarm:
    case ClockId::kTai:
      return SignalTimer::Clock::kRealtime;
    case ClockId::kMonotonic:
    case ClockId::kBoottime:
    case ClockId::kBoottimeAlarm:
      return SignalTimer::Clock::kMonotonic;
    case ClockId::kProcessCpu:
      return SignalTimer::Clock::kProcessCpu;
    case ClockId::kThreadCpu:
      return SignalTimer::Clock::kThreadCpu;
    default:
      break;
  }
  // The C library names the caller's own CPU clocks by number: ~0 for the process or thread, and
  // which of its times [linux/posix-timers.h].
  auto raw = static_cast<int32_t>(id);
  constexpr int32_t kPerThread = 4, kWhich = 3, kVirtual = 1;
  if (raw >= 0) return fail(Errno::kInval);
  int owner = ~(raw >> 3);
  bool per_thread = (raw & kPerThread) != 0;
  if (owner != 0 && owner != (per_thread ? current_task().tid() : current_process().pid()))
    return fail(Errno::kInval);
  if (per_thread) return SignalTimer::Clock::kThreadCpu;
  return (raw & kWhich) == kVirtual ? SignalTimer::Clock::kProcessUser
                                    : SignalTimer::Clock::kProcessCpu;
}

Result<void> sys_timer_create(ClockId clock_id, UserPtr<SignalEvent> event_pointer,
                              UserPtr<int32_t> id_out) {
  constexpr int kSignal = 0, kNone = 1, kThread = 2, kThreadIdFlag = 4;
  SignalTimer::Clock clock = ARIL_TRY(timer_clock(clock_id));
  SignalEvent event{.signal = kSigAlrm, .notify = kSignal};
  if (event_pointer) event = ARIL_TRY(event_pointer.read());
  int notify = event.notify & ~kThreadIdFlag;
  if (notify != kSignal && notify != kNone && notify != kThread) return fail(Errno::kInval);
  if (notify != kNone && !is_valid_signal(event.signal)) return fail(Errno::kInval);
  Process& process = current_process();
  RefPtr<Task> target;
  if ((event.notify & kThreadIdFlag) != 0) {
    target = process.find_task(event.tid);
    if (!target) return fail(Errno::kInval);
  }
  SignalInfo info{.signal = event.signal, .code = kSiTimer};
  info.timer = {.timer_id = 0, .overrun = 0, .value = event.value};
  TimerSet* set = ARIL_TRY(TimerSet::of(process));
  int id;
  {
    LockGuard guard(set->mutex());
    id = ARIL_TRY(set->create_locked(process, std::move(target), clock, info, notify != kNone,
                                     !event_pointer));
  }
  // Without the lock: application memory may have to be fetched.
  Result<void> written = id_out.write(id);
  if (!written) {
    LockGuard guard(set->mutex());
    (void)set->remove_locked(id);
  }
  return written;
}
ARIL_SYSCALL(222, timer_create, sys_timer_create, "clockid ptr >ptr");

struct TimerSetting {
  Timespec interval, value;
};
TimerSetting to_timer(const SignalTimer::Setting& setting) {
  return {Timespec::from(setting.interval), Timespec::from(setting.remaining)};
}

Result<void> sys_timer_settime(int id, uint32_t flags, UserPtr<TimerSetting> wanted,
                               UserPtr<TimerSetting> previous) {
  constexpr uint32_t kAbsolute = 1;
  TimerSetting setting = ARIL_TRY(wanted.read());
  if (!setting.interval.is_valid() || !setting.value.is_valid()) return fail(Errno::kInval);
  TimerSet* set = ARIL_TRY(TimerSet::of(current_process()));
  SignalTimer::Setting old;
  {
    LockGuard guard(set->mutex());
    SignalTimer* timer = ARIL_TRY(set->find_locked(id));
    old = timer->set(
        setting.value.duration(), setting.interval.duration(),
        (flags & kAbsolute) != 0 ? SignalTimer::Start::kAbsolute : SignalTimer::Start::kRelative);
  }
  if (previous) return previous.write(to_timer(old));
  return {};
}
ARIL_SYSCALL(223, timer_settime, sys_timer_settime, "int hex ptr >ptr");

Result<void> sys_timer_gettime(int id, UserPtr<TimerSetting> out) {
  TimerSet* set = ARIL_TRY(TimerSet::of(current_process()));
  SignalTimer::Setting setting;
  {
    LockGuard guard(set->mutex());
    setting = ARIL_TRY(set->find_locked(id))->get();
  }
  return out.write(to_timer(setting));
}
ARIL_SYSCALL(224, timer_gettime, sys_timer_gettime, "int >ptr");

Result<int64_t> sys_timer_getoverrun(int id) {
  TimerSet* set = ARIL_TRY(TimerSet::of(current_process()));
  LockGuard guard(set->mutex());
  return ARIL_TRY(set->find_locked(id))->overrun();
}
ARIL_SYSCALL(225, timer_getoverrun, sys_timer_getoverrun, "int");

Result<void> sys_timer_delete(int id) {
  TimerSet* set = ARIL_TRY(TimerSet::of(current_process()));
  LockGuard guard(set->mutex());
  return set->remove_locked(id);
}
ARIL_SYSCALL(226, timer_delete, sys_timer_delete, "int");

}  // namespace
}  // namespace aril::linux_abi
