#pragma once
#include <cstdint>

#include "arch/trap_frame.hpp"
#include "base/result.hpp"
#include "linux/abi/signal.hpp"
#include "linux/process/process.hpp"
#include "linux/process/task.hpp"

namespace aril::linux_abi {

/// Sends to the process: any task that does not block it takes it. Ignored signals vanish. kAgain
/// when a real-time signal finds no memory. Thread context.
Result<void> send_signal(Process& process, const SignalInfo& info);
/// Sends to one task (tgkill, SIGPIPE, faults).
Result<void> send_signal(Task& task, const SignalInfo& info);
/// As kill(2) from the kernel: SI_KERNEL.
void send_kernel_signal(Process& process, int number);
/// Under family::lock(): to a parent of the end of its child, to children of the end of their
/// parent. What cannot be had memory for arrives without details.
void send_family_signal(Process& process, const SignalInfo& info);
/// Whether the calling task may send `number` to the process [kill(2)]: kPerm. kSigCont may go to
/// every process of the session.
Result<void> may_signal(Process& process, int number);
/// True when the signal is to vanish: the first process gets from others only what it handles, as
/// the first process of a container does [pid_namespaces(7)].
bool is_shielded_from(Process& process, int number);
/// From the calling task to itself, for errors such as EPIPE (SIGPIPE) and EFBIG (SIGXFSZ).
void raise_signal(int number);

/// Any context: `expiries` of a timer, whose embedded instance this is. Those that come while it is
/// still pending count as overruns. `task` null: to the process.
void send_timer_signal(Process& process, Task* task, QueuedSignal& signal, int64_t expiries);
/// Withdraws an embedded instance that may be pending where it was sent. Any context.
void withdraw_queued_signal(Process& process, Task* task, QueuedSignal& signal);

/// To a process group (terminals: SIGINT, SIGWINCH, SIGHUP). kSrch when it is empty.
Result<void> send_group_signal(int process_group, const SignalInfo& info);

/// After a change of the action of `number`: it becomes that of the processes that share handlers
/// with this one. No lock of family::lock()'s rank or above held.
void share_action(Process& process, int number);
/// Sets an action, and drops what is pending and would now be ignored [POSIX sigaction]. Under
/// tasks_lock() and signal_lock().
void set_action_locked(Process& process, int number, const SignalAction& action);

/// Signals that wait and that `wanted` contains, taken off: signalfd, sigtimedwait. 0: none.
int take_pending_signal(Task& task, SignalSet wanted, SignalInfo& info);
/// Pending for the task or its process, blocked ones included.
SignalSet pending_signals(Task& task);

/// A fault signal that cannot be blocked or ignored: when it is, its default action applies.
void force_signal(Task& task, const SignalInfo& info);

/// What deliver_signals leaves the caller to do.
enum class AfterSignals : uint8_t {
  kContinue,  ///< return to the application with `frame`
  kRestart,   ///< run the interrupted system call again: no handler got in between
};
enum class SystemCallReturn : uint8_t { kNo, kYes };

/// Delivers what waits before `frame` returns to the application: builds handler frames, stops, or
/// ends the task or its process (then it does not return). With kYes the frame is the end of a
/// system call, whose result may be kRestart: it then becomes a restart or -EINTR.
AfterSignals deliver_signals(arch::TrapFrame& frame, SystemCallReturn system_call);

/// Before the task goes on in the application after it was away from its CPU, or enters a signal
/// handler: aborts the critical section that `frame` is in, and tells the CPU's number. A bad area
/// raises SIGSEGV. The task has a registered sequence: null in an image without linux/rseq, where
/// none has.
[[gnu::weak]] void settle_restartable_sequence(Task& task, arch::TrapFrame& frame);

/// Lays the signal frame on the application's stack (or its alternate one) and points `frame` at
/// the handler. `previous` is the mask that rt_sigreturn brings back. kFault when the stack cannot
/// take it; nothing has changed then. Null in an image without the component linux/handlers, where
/// no handler can be set.
[[gnu::weak]] Result<void> build_signal_frame(Task& task, arch::TrapFrame& frame,
                                              const SignalAction& action, const SignalInfo& info,
                                              SignalSet previous);

/// Writes the report of a fatal signal as "report" records: what, registers, backtrace.
void report_fatal_signal(const arch::TrapFrame& frame, const SignalInfo& info);
/// PATH+0xOFFSET of an application address; empty when it is in no mapped file.
struct CodeLocation {
  char text[192];
};
CodeLocation describe_code(uint64_t address);

}  // namespace aril::linux_abi
