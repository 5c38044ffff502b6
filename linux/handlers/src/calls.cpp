#include "linux/abi/syscall.hpp"
#include "linux/signal/signal.hpp"
#include "signal_frame.hpp"

/// What a program does with handlers of its own: set them, give them a stack, return from them.
namespace aril::linux_abi {
namespace {

Result<void> sys_rt_sigaction(int number, UserPtr<SignalAction> wanted,
                              UserPtr<SignalAction> previous, uint64_t set_size) {
  if (set_size != sizeof(SignalSet) || !is_valid_signal(number)) return fail(Errno::kInval);
  std::optional<SignalAction> action;
  if (wanted) {
    if (kUnblockableSignals.contains(number)) return fail(Errno::kInval);
    action = ARIL_TRY(wanted.read());
    action->mask = action->mask & ~kUnblockableSignals;
  }
  Process& process = current_process();
  SignalAction old;
  {
    LockGuard tasks(process.tasks_lock());
    LockGuard guard(process.signal_lock());
    old = process.action_locked(number);
    if (action) set_action_locked(process, number, *action);
  }
  if (action) share_action(process, number);
  if (previous) return previous.write(old);
  return {};
}
ARIL_SYSCALL(13, rt_sigaction, sys_rt_sigaction, "sig ptr ptr size");

Result<int64_t> sys_rt_sigreturn(arch::TrapFrame& frame) {
  if (!return_from_signal(frame))
    force_signal(current_task(), SignalInfo{.signal = kSigSegv, .code = kSiKernel});
  // The result is whatever the interrupted code had in RAX.
  return static_cast<int64_t>(frame.rax);
}
ARIL_SYSCALL(15, rt_sigreturn, sys_rt_sigreturn, "");

Result<void> sys_sigaltstack(arch::TrapFrame& frame) {
  UserPtr<AlternateStack> wanted(frame.argument(0)), previous(frame.argument(1));
  Task& task = current_task();
  AlternateStack old = task.alternate_stack;
  uint64_t rsp = frame.stack_pointer();
  bool on_it = (old.flags & kSsDisable) == 0 && (uint32_t(old.flags) & kSsAutodisarm) == 0 &&
               rsp > old.base && rsp - old.base <= old.size;
  if (wanted) {
    AlternateStack stack = ARIL_TRY(wanted.read());
    if (on_it) return fail(Errno::kPerm);
    uint32_t mode = uint32_t(stack.flags) & ~kSsAutodisarm;
    if (mode != 0 && mode != uint32_t(kSsDisable) && mode != uint32_t(kSsOnstack))
      return fail(Errno::kInval);
    if (mode == uint32_t(kSsDisable)) {
      stack = {};
    } else {
      if (stack.size < kMinimumSignalStack) return fail(Errno::kNoMem);
      stack.flags &= ~kSsOnstack;
    }
    task.alternate_stack = stack;
  }
  if (previous) {
    if (on_it) old.flags |= kSsOnstack;
    return previous.write(old);
  }
  return {};
}
ARIL_SYSCALL(131, sigaltstack, sys_sigaltstack, "ptr >ptr");

}  // namespace
}  // namespace aril::linux_abi
