#include <algorithm>
#include <new>

#include "linux/process/family.hpp"
#include "linux/process/multiprocess.hpp"
#include "linux/signal/signal.hpp"

namespace aril::linux_abi {
namespace {

enum class QueueOutcome : uint8_t { kQueued, kAlreadyPending, kIgnored };

bool is_ignored_locked(Process& process, int number) {
  uint64_t handler = process.action_locked(number).handler;
  return handler == kSignalIgnore ||
         (handler == kSignalDefault && kIgnoredByDefault.contains(number));
}

// A stop signal cancels a pending SIGCONT and the other way round [signal(7)].
void cancel_opposites_locked(Process& process, Task* first, int number) {
  SignalSet opposites;
  if (number == kSigCont) opposites = kStopSignals;
  if (kStopSignals.contains(number)) opposites = SignalSet::of(kSigCont);
  if (opposites.empty()) return;
  process.pending_locked().flush(opposites);
  if (first != nullptr) first->pending.flush(opposites);
}

// The task that takes a signal for the whole process: the sender itself, the first task or any
// other that does not block it; null when all block it.
Task* choose_task_locked(Process& process, int number) {
  Task* chosen = nullptr;
  Task* self = arch::this_cpu().interrupt_depth == 0 ? current_task_or_null() : nullptr;
  process.for_each_task_locked([&](Task& task) {
    if (task.blocked.contains(number)) return;
    if (chosen == nullptr || &task == self) chosen = &task;
  });
  return chosen;
}

// Puts `signal` where it belongs. Task list and signal lock held.
QueueOutcome queue_locked(Process& process, Task* task, int number, QueuedSignal* signal) {
  cancel_opposites_locked(process, task, number);
  Task* receiver = task;
  if (receiver == nullptr) receiver = choose_task_locked(process, number);
  bool is_blocked = receiver == nullptr || receiver->blocked.contains(number);
  if (!is_blocked && is_ignored_locked(process, number)) return QueueOutcome::kIgnored;
  PendingSignals& pending = task != nullptr ? task->pending : process.pending_locked();
  if (!pending.accepts(number)) return QueueOutcome::kAlreadyPending;
  if (signal != nullptr) {
    pending.push(*signal);
  } else {
    pending.push_bare(number);
  }
  if (!is_blocked) receiver->interrupt();
  return QueueOutcome::kQueued;
}

/// Whether the parent hears of a process that SIGCONT continues. Not from under family::lock().
enum class ContinueNotice : uint8_t { kToParent, kNone };

QueueOutcome queue(Process& process, Task* task, int number, QueuedSignal* signal,
                   ContinueNotice notice = ContinueNotice::kToParent) {
  QueueOutcome outcome;
  {
    LockGuard tasks(process.tasks_lock());
    LockGuard signals(process.signal_lock());
    outcome = queue_locked(process, task, number, signal);
  }
  bool resumed = (number == kSigCont || number == kSigKill) && process.resume();
  if (resumed && number == kSigCont && notice == ContinueNotice::kToParent && has_multiprocess())
    aril_multiprocess.process_continued(process);
  if (outcome == QueueOutcome::kQueued) process.signal_queue().wake_all();
  return outcome;
}

// Null when memory is short, or when as many wait as RLIMIT_SIGPENDING allows, counted here for the
// receiving process and not for its user: the signal is then only marked as pending. Standard
// signals that the kernel or kill(2) sends are not subject to the limit.
QueuedSignal* make_instance(Process& process, const SignalInfo& info) {
  bool is_limited = info.signal >= kSignalRealTimeMin || info.code < 0;
  if (is_limited && process.queued_signals.load(std::memory_order_relaxed) >=
                        process.queued_signal_limit.load(std::memory_order_relaxed))
    return nullptr;
  auto* signal = new (std::nothrow) QueuedSignal;
  if (signal == nullptr) return nullptr;
  signal->info = info;
  signal->account = &process.queued_signals;
  process.queued_signals.fetch_add(1, std::memory_order_relaxed);
  return signal;
}

Result<void> send(Process& process, Task* task, const SignalInfo& info,
                  ContinueNotice notice = ContinueNotice::kToParent) {
  QueuedSignal* signal = make_instance(process, info);
  if (signal == nullptr && info.signal >= kSignalRealTimeMin && info.code != kSiUser)
    return fail(Errno::kAgain);
  if (queue(process, task, info.signal, signal, notice) != QueueOutcome::kQueued) delete signal;
  return {};
}

}  // namespace

Result<void> send_signal(Process& process, const SignalInfo& info) {
  return send(process, nullptr, info);
}

Result<void> send_signal(Task& task, const SignalInfo& info) {
  return send(task.process(), &task, info);
}

void send_kernel_signal(Process& process, int number) {
  // Failure is only for real-time signals, which the kernel does not send this way.
  (void)send_signal(process, SignalInfo{.signal = number, .code = kSiKernel});
}

void send_family_signal(Process& process, const SignalInfo& info) {
  (void)send(process, nullptr, info, ContinueNotice::kNone);
}

void raise_signal(int number) {
  (void)send_signal(current_task(), SignalInfo{.signal = number, .code = kSiKernel});
}

void send_timer_signal(Process& process, Task* task, QueuedSignal& signal, int64_t expiries) {
  {
    LockGuard guard(process.signal_lock());
    int32_t& overrun = signal.info.timer.overrun;
    bool is_pending = signal.node.is_linked();
    int64_t total = (is_pending ? overrun + expiries : expiries - 1);
    overrun = static_cast<int32_t>(std::min<int64_t>(total, INT32_MAX));
    if (is_pending) return;
  }
  // Only this timer queues its instance, one expiry at a time: it is still free.
  (void)queue(process, task, signal.info.signal, &signal);
}

void withdraw_queued_signal(Process& process, Task* task, QueuedSignal& signal) {
  LockGuard guard(process.signal_lock());
  (task != nullptr ? task->pending : process.pending_locked()).withdraw(signal);
}

Result<void> send_group_signal(int process_group, const SignalInfo& info) {
  struct Argument {
    int group;
    const SignalInfo& info;
    bool found = false;
  } argument{process_group, info};
  process_table::for_each(
      [](Process& process, void* pointer) {
        auto& group = *static_cast<Argument*>(pointer);
        if (process.process_group.load() != group.group) return;
        group.found = true;
        (void)send_signal(process, group.info);
      },
      &argument);
  if (!argument.found) return fail(Errno::kSrch);
  return {};
}

int take_pending_signal(Task& task, SignalSet wanted, SignalInfo& info) {
  LockGuard guard(task.process().signal_lock());
  int number = task.pending.take(wanted, info);
  if (number == 0) number = task.process().pending_locked().take(wanted, info);
  if (number != 0) task.update_interruption_locked();
  return number;
}

SignalSet pending_signals(Task& task) {
  LockGuard guard(task.process().signal_lock());
  return task.pending.set() | task.process().pending_locked().set();
}

void set_action_locked(Process& process, int number, const SignalAction& action) {
  process.action_locked(number) = action;
  bool ignored = action.handler == kSignalIgnore ||
                 (action.handler == kSignalDefault && kIgnoredByDefault.contains(number));
  if (!ignored) return;
  process.pending_locked().flush(SignalSet::of(number));
  process.for_each_task_locked([&](Task& task) { task.pending.flush(SignalSet::of(number)); });
}

void share_action(Process& process, int number) {
  if (process.handler_group.load(std::memory_order_relaxed) == 0) return;
  LockGuard family_guard(family::lock());
  uint64_t group = process.handler_group;
  SignalAction action;
  {
    LockGuard guard(process.signal_lock());
    action = process.action_locked(number);
  }
  family::for_each_locked([&](Process& other) {
    if (group == 0 || &other == &process || other.handler_group != group) return;
    LockGuard tasks(other.tasks_lock());
    LockGuard guard(other.signal_lock());
    set_action_locked(other, number, action);
  });
}

void force_signal(Task& task, const SignalInfo& info) {
  Process& process = task.process();
  {
    LockGuard guard(process.signal_lock());
    SignalAction& action = process.action_locked(info.signal);
    // A fault cannot be put off: the instruction would only fault again.
    if (task.blocked.contains(info.signal) || action.handler == kSignalIgnore) {
      action.handler = kSignalDefault;
      task.blocked.remove(info.signal);
    }
  }
  share_action(process, info.signal);
  if (!send_signal(task, info)) ARIL_ASSERT(false);
}

}  // namespace aril::linux_abi
