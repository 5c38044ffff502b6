#include "linux/abi/syscall.hpp"
#include "linux/abi/time.hpp"
#include "linux/event/event_fd.hpp"
#include "linux/event/signal_fd.hpp"
#include "linux/event/timer_fd.hpp"
#include "linux/files/file_table.hpp"
#include "linux/process/process.hpp"

/// eventfd, eventfd2, timerfd_*, signalfd, signalfd4.
namespace aril::linux_abi {

namespace {

Result<int> install(RefPtr<File> file, OpenFlags flags) {
  return current_process().files().install(
      std::move(file), has(flags, OpenFlags::kCloseOnExec) ? CloseOnExec::kYes : CloseOnExec::kNo);
}

constexpr OpenFlags kAnonymousFlags = OpenFlags::kNonBlock | OpenFlags::kCloseOnExec;
constexpr auto kEfdSemaphore = static_cast<OpenFlags>(1);

Result<int> sys_eventfd2(uint32_t initial, uint32_t raw_flags) {
  auto flags = static_cast<OpenFlags>(raw_flags);
  if (has(flags, ~(kAnonymousFlags | kEfdSemaphore))) return fail(Errno::kInval);
  auto mode = has(flags, kEfdSemaphore) ? EventFd::Mode::kSemaphore : EventFd::Mode::kCounter;
  return install(ARIL_TRY(try_make_ref<EventFd>(flags & OpenFlags::kNonBlock, initial, mode)),
                 flags);
}
ARIL_SYSCALL(290, eventfd2, sys_eventfd2, "uint oflags");

Result<int> sys_eventfd(uint32_t initial) { return sys_eventfd2(initial, 0); }
ARIL_SYSCALL(284, eventfd, sys_eventfd, "uint");

const char kTimerFdTag = 0;

/// Only timerfd calls look for one, so it is told apart here.
class TimerFdFile final : public TimerFd {
 public:
  using TimerFd::TimerFd;
  void* facet(const void* tag) override { return tag == &kTimerFdTag ? this : nullptr; }
};

struct IntervalTimespec {
  Timespec interval;
  Timespec value;
};

Result<int> sys_timerfd_create(ClockId clock, uint32_t raw_flags) {
  auto flags = static_cast<OpenFlags>(raw_flags);
  if (has(flags, ~kAnonymousFlags)) return fail(Errno::kInval);
  TimerFd::Clock kind;
  switch (clock) {
    case ClockId::kRealtime:
    case ClockId::kRealtimeAlarm:
      kind = TimerFd::Clock::kRealtime;
      break;
    case ClockId::kMonotonic:
    case ClockId::kBoottime:
    case ClockId::kBoottimeAlarm:
      kind = TimerFd::Clock::kMonotonic;
      break;
    default:
      return fail(Errno::kInval);
  }
  return install(ARIL_TRY(try_make_ref<TimerFdFile>(flags & OpenFlags::kNonBlock, kind)), flags);
}
ARIL_SYSCALL(283, timerfd_create, sys_timerfd_create, "clockid oflags");

Result<RefPtr<TimerFdFile>> timer_of(int fd) {
  RefPtr<File> file = ARIL_TRY(current_process().files().get(fd));
  auto* timer = static_cast<TimerFdFile*>(file->facet(&kTimerFdTag));
  if (timer == nullptr) return fail(Errno::kInval);
  return RefPtr<TimerFdFile>(timer);
}

IntervalTimespec to_user(const TimerFd::Setting& setting) {
  return {Timespec::from(setting.interval), Timespec::from(setting.value)};
}

Result<void> sys_timerfd_settime(int fd, int flags, UserPtr<IntervalTimespec> wanted,
                                 UserPtr<IntervalTimespec> before) {
  constexpr int kAbsolute = 1, kCancelOnSet = 2;
  if ((flags & ~(kAbsolute | kCancelOnSet)) != 0) return fail(Errno::kInval);
  IntervalTimespec value = ARIL_TRY(wanted.read());
  if (!value.interval.is_valid() || !value.value.is_valid()) return fail(Errno::kInval);
  auto timer = ARIL_TRY(timer_of(fd));
  TimerFd::Setting old = timer->set({.value = value.value.duration(),
                                     .interval = value.interval.duration(),
                                     .absolute = (flags & kAbsolute) != 0,
                                     .cancel_on_set = (flags & kCancelOnSet) != 0});
  if (before) ARIL_TRY(before.write(to_user(old)));
  return {};
}
ARIL_SYSCALL(286, timerfd_settime, sys_timerfd_settime, "fd int ptr >ptr");

Result<void> sys_timerfd_gettime(int fd, UserPtr<IntervalTimespec> out) {
  auto timer = ARIL_TRY(timer_of(fd));
  return out.write(to_user(timer->get()));
}
ARIL_SYSCALL(287, timerfd_gettime, sys_timerfd_gettime, "fd >ptr");

Result<int> sys_signalfd4(int fd, UserPtr<SignalSet> user_mask, uint64_t size, uint32_t raw_flags) {
  auto flags = static_cast<OpenFlags>(raw_flags);
  if (size != sizeof(SignalSet) || has(flags, ~kAnonymousFlags)) return fail(Errno::kInval);
  SignalSet mask = ARIL_TRY(user_mask.read());
  if (fd == -1)
    return install(ARIL_TRY(try_make_ref<SignalFd>(flags & OpenFlags::kNonBlock, mask)), flags);
  RefPtr<File> file = ARIL_TRY(current_process().files().get(fd));
  SignalFd* signal_fd = as_signal_fd(*file);
  if (signal_fd == nullptr) return fail(Errno::kInval);
  signal_fd->set_mask(mask);
  return fd;
}
ARIL_SYSCALL(289, signalfd4, sys_signalfd4, "fd ptr size oflags");

Result<int> sys_signalfd(int fd, UserPtr<SignalSet> mask, uint64_t size) {
  return sys_signalfd4(fd, mask, size, 0);
}
ARIL_SYSCALL(282, signalfd, sys_signalfd, "fd ptr size");

}  // namespace

}  // namespace aril::linux_abi
