#include "kernel/log/log.hpp"
#include "linux/process/family.hpp"
#include "linux/signal/signal.hpp"

namespace aril::linux_abi {
namespace {

// Default action: end with a report.
constexpr SignalSet kReportedSignals =
    SignalSet::of(kSigQuit, kSigIll, kSigTrap, kSigAbrt, kSigBus, kSigFpe, kSigSegv, kSigSys);

constexpr int64_t kRestartResult = -static_cast<int64_t>(Errno::kRestart);
// `syscall` is two bytes long: stepping back over it makes the call again.
constexpr uint64_t kSystemCallInstructionSize = 2;

struct Delivery {
  int number = 0;
  SignalInfo info;
  SignalAction action;
};

// The next signal to deliver, taken off; number 0 when there is none.
Delivery take_next(Task& task) {
  Process& process = task.process();
  Delivery next;
  bool resets = false;
  {
    LockGuard guard(process.signal_lock());
    next.number = task.pending.take(~task.blocked, next.info);
    if (next.number == 0) next.number = process.pending_locked().take(~task.blocked, next.info);
    if (next.number == 0) return next;
    SignalAction& action = process.action_locked(next.number);
    next.action = action;
    resets = (action.flags & kSaResethand) != 0 && action.handler > kSignalIgnore;
    if (resets) action.handler = kSignalDefault;
  }
  if (resets) share_action(process, next.number);
  return next;
}

void wait_while_stopped(Task& task) {
  Process& process = task.process();
  (void)process.stop_queue().wait_until(
      [&] { return !process.is_stopped() || task_must_exit(task); }, Instant::never(),
      Interruptible::kNo);
}

void apply_default(Task& task, const arch::TrapFrame& frame, const Delivery& delivery) {
  Process& process = task.process();
  if (kIgnoredByDefault.contains(delivery.number)) return;
  if (kStopSignals.contains(delivery.number)) {
    // Nobody could continue an orphaned group: terminal stop signals do nothing to it [setpgid(2)].
    if (delivery.number == kSigStop || !family::is_orphaned_group(process.process_group.load()))
      process.stop(delivery.number);
    return;
  }
  // What one program sends to another is their affair; a fault, abort(3), and the end of the first
  // program are the user's.
  bool is_sent = delivery.info.code <= 0 && delivery.info.sender.pid != process.pid();
  if (kReportedSignals.contains(delivery.number) && (!is_sent || process.pid() == 1))
    report_fatal_signal(frame, delivery.info);
  process.request_exit({.signal = delivery.number});
  Task::exit(0);
}

// Blocks what the handler wants blocked; the mask that its end brings back.
SignalSet enter_handler_mask(Task& task, const Delivery& delivery) {
  LockGuard guard(task.process().signal_lock());
  SignalSet previous = task.saved_blocked.value_or(task.blocked);
  task.saved_blocked.reset();
  task.blocked = task.blocked | delivery.action.mask;
  if ((delivery.action.flags & kSaNodefer) == 0) task.blocked.add(delivery.number);
  task.blocked = task.blocked & ~kUnblockableSignals;
  return previous;
}

void settle_restart(Task& task, arch::TrapFrame& frame, const SignalAction& action) {
  if (static_cast<int64_t>(frame.rax) != kRestartResult) return;
  if ((action.flags & kSaRestart) != 0 && !task.never_restart) {
    frame.rax = frame.system_call_number();
    frame.rip -= kSystemCallInstructionSize;
  } else {
    frame.set_return_value(-static_cast<int64_t>(Errno::kIntr));
  }
}

void run_handler(Task& task, arch::TrapFrame& frame, const Delivery& delivery) {
  if (task.sequence.address != 0) settle_restartable_sequence(task, frame);
  SignalSet previous = enter_handler_mask(task, delivery);
  if (build_signal_frame != nullptr &&
      build_signal_frame(task, frame, delivery.action, delivery.info, previous))
    return;
  // No room for the frame: the process ends as Linux ends it.
  report_fatal_signal(frame, SignalInfo{.signal = kSigSegv, .code = kSiKernel});
  task.process().request_exit({.signal = kSigSegv});
  Task::exit(0);
}

}  // namespace

AfterSignals deliver_signals(arch::TrapFrame& frame, SystemCallReturn system_call) {
  Task& task = current_task();
  bool handled = false;
  for (;;) {
    if (task_must_exit(task)) Task::exit(0);
    if (task.process().is_stopped()) {
      wait_while_stopped(task);
      continue;
    }
    Delivery delivery = take_next(task);
    if (delivery.number == 0) break;
    if (delivery.action.handler == kSignalIgnore) continue;
    if (delivery.action.handler == kSignalDefault) {
      apply_default(task, frame, delivery);
      continue;
    }
    if (system_call == SystemCallReturn::kYes) settle_restart(task, frame, delivery.action);
    system_call = SystemCallReturn::kNo;
    run_handler(task, frame, delivery);
    handled = true;
  }
  LockGuard guard(task.process().signal_lock());
  if (!handled && task.saved_blocked) {
    task.blocked = *task.saved_blocked;
    task.saved_blocked.reset();
  }
  task.update_interruption_locked();
  bool restart =
      system_call == SystemCallReturn::kYes && static_cast<int64_t>(frame.rax) == kRestartResult;
  return restart ? AfterSignals::kRestart : AfterSignals::kContinue;
}

}  // namespace aril::linux_abi
