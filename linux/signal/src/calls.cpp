#include "base/units.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/abi/time.hpp"
#include "linux/signal/signal.hpp"

/// Blocking signals and waiting for them. Sending: send_calls.cpp; handlers: linux/handlers.
namespace aril::linux_abi {
namespace {

Result<void> check_set_size(uint64_t size) {
  if (size != sizeof(SignalSet)) return fail(Errno::kInval);
  return {};
}

Result<void> sys_rt_sigprocmask(int how, UserPtr<SignalSet> wanted, UserPtr<SignalSet> previous,
                                uint64_t set_size) {
  ARIL_TRY(check_set_size(set_size));
  Task& task = current_task();
  SignalSet old = task.blocked;
  if (wanted) {
    SignalSet set = ARIL_TRY(wanted.read());
    SignalSet blocked;
    switch (how) {
      case 0:
        blocked = old | set;
        break;  // SIG_BLOCK
      case 1:
        blocked = old & ~set;
        break;  // SIG_UNBLOCK
      case 2:
        blocked = set;
        break;  // SIG_SETMASK
      default:
        return fail(Errno::kInval);
    }
    LockGuard guard(task.process().signal_lock());
    task.blocked = blocked & ~kUnblockableSignals;
    task.update_interruption_locked();
  }
  if (previous) return previous.write(old);
  return {};
}
ARIL_SYSCALL(14, rt_sigprocmask, sys_rt_sigprocmask, "op ptr ptr size");

Result<void> sys_rt_sigpending(UserPtr<SignalSet> set, uint64_t set_size) {
  if (set_size > sizeof(SignalSet)) return fail(Errno::kInval);
  Task& task = current_task();
  return set.write(pending_signals(task) & task.blocked);
}
ARIL_SYSCALL(127, rt_sigpending, sys_rt_sigpending, "ptr size");

// Sleeps until a signal is delivered; kIntr then, never restarted.
Result<void> wait_for_signal() {
  current_task().never_restart = true;
  WaitQueue nothing;
  return nothing.wait_until([] { return false; });
}

Result<void> sys_pause() { return wait_for_signal(); }
ARIL_SYSCALL(34, pause, sys_pause, "");

Result<void> sys_rt_sigsuspend(UserPtr<SignalSet> mask, uint64_t set_size) {
  ARIL_TRY(check_set_size(set_size));
  TemporarySignalMask temporary(ARIL_TRY(mask.read()));
  return wait_for_signal();
}
ARIL_SYSCALL(130, rt_sigsuspend, sys_rt_sigsuspend, "ptr size");

Result<int64_t> sys_rt_sigtimedwait(UserPtr<SignalSet> wanted_set, UserPtr<SignalInfo> info_out,
                                    UserPtr<Timespec> timeout, uint64_t set_size) {
  ARIL_TRY(check_set_size(set_size));
  SignalSet wanted = ARIL_TRY(wanted_set.read()) & ~kUnblockableSignals;
  Instant deadline = Instant::never();
  if (timeout) deadline = now() + ARIL_TRY(read_timeout(timeout));
  Task& task = current_task();
  task.never_restart = true;
  SignalInfo info;
  int number = 0;
  Result<void> waited = task.process().signal_queue().wait_until(
      [&] { return (number = take_pending_signal(task, wanted, info)) != 0; }, deadline);
  if (!waited) return fail(waited.error() == Errno::kTimedOut ? Errno::kAgain : waited.error());
  if (info_out) ARIL_TRY(info_out.write(info));
  return number;
}
ARIL_SYSCALL(128, rt_sigtimedwait, sys_rt_sigtimedwait, "ptr >ptr timespec size");

}  // namespace
}  // namespace aril::linux_abi
