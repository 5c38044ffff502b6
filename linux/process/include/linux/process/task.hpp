#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "arch/trap_frame.hpp"
#include "base/intrusive_list.hpp"
#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "kernel/sched/thread.hpp"
#include "linux/abi/signal.hpp"
#include "linux/process/credentials.hpp"
#include "linux/process/pending_signals.hpp"
#include "linux/process/seccomp.hpp"

namespace aril::linux_abi {

class Process;

/// What a component above attaches to a task (io_uring: its registered rings).
class TaskAttachment {
 public:
  virtual ~TaskAttachment() = default;
};

/// A registered restartable sequence area [rseq(2)]: the application's struct rseq.
struct RestartableSequence {
  uint64_t address = 0;  ///< 0: none
  uint32_t length = 0, signature = 0;
};

/// CPU time of a task or process: in the application, and in the kernel on its behalf.
struct CpuTimes {
  Duration user, system;
  [[nodiscard]] Duration total() const { return user + system; }
  friend CpuTimes operator+(CpuTimes a, CpuTimes b) {
    return {.user = a.user + b.user, .system = a.system + b.system};
  }
};

/// One Linux thread: a scheduler Thread with what Linux attaches to it.
///
/// Life cycle: create() makes the Thread without starting it; start() adds the task to its process
/// and runs it from the given registers; exit() ends the calling task. The process's list holds
/// a reference from start() to exit().
class Task final : public RefCounted, public ThreadOwner {
 public:
  /// kNoMem, kAgain (no thread id). `tid` 0: the next free one. `frame` are the registers it starts
  /// with, `thread_pointer` its FS base.
  static Result<RefPtr<Task>> create(RefPtr<Process> process, int tid, std::string_view name,
                                     const arch::TrapFrame& frame, uint64_t thread_pointer);
  ~Task() override;

  /// Runs on the task's own thread before it enters the application, with its start registers:
  /// the first program is executed there. Before start().
  using Preparation = void (*)(arch::TrapFrame& frame, void* argument);
  void set_preparation(Preparation preparation, void* argument) {
    preparation_ = preparation;
    preparation_argument_ = argument;
  }
  /// Takes over what a clone inherits of the calling task: SIMD state, mask, credentials, name,
  /// scheduling. Before start().
  void inherit(Task& caller);
  void start();
  /// Ends the calling task: robust futexes, clear_child_tid; with the last task, the process.
  [[noreturn]] static void exit(int code);

  [[nodiscard]] int tid() const { return tid_; }
  [[nodiscard]] Process& process() const { return *process_; }
  [[nodiscard]] Thread& thread() const { return *thread_; }
  [[nodiscard]] bool is_leader() const;

  // ThreadOwner.
  void on_switch_in() override;
  [[nodiscard]] bool has_interruption() const override {
    return (return_work_.load(std::memory_order_acquire) & kInterruption) != 0 || no_wait_;
  }
  /// Something is to be done before the task goes on in the application: what the system call's way
  /// back looks at (arch::CpuBlock::return_work).
  [[nodiscard]] bool has_return_work() const {
    return return_work_.load(std::memory_order_acquire) != 0;
  }

  // Signals; the operations are in linux/signal. Under the process's signal_lock().
  /// Blocked signals. Written by the task itself only.
  SignalSet blocked;
  /// The mask to come back to after a signal that ended sigsuspend, ppoll, pselect, epoll_pwait.
  std::optional<SignalSet> saved_blocked;
  PendingSignals pending;
  /// The signals that would be delivered now. Signal lock held.
  [[nodiscard]] SignalSet deliverable_locked() const;
  /// Recomputes has_interruption() after a change of masks, pending sets or requests; returns it.
  bool update_interruption_locked();
  /// Marks an interruption and wakes the thread from an interruptible sleep. Any context.
  void interrupt();

  // The task's own, used by itself only.
  AlternateStack alternate_stack;
  uint64_t clear_child_tid = 0;  ///< zeroed and futex-woken at exit [set_tid_address(2)]
  uint64_t robust_list = 0;      ///< [set_robust_list(2)]
  uint64_t robust_list_size = 0;
  Credentials credentials;
  /// SCHED_* and its priority, as set; they do not change how the thread is scheduled.
  int scheduling_policy = 0, scheduling_priority = 0;
  uint64_t timer_slack_ns = 50'000;
  int io_priority = 0;  ///< as ioprio_set has it
  /// Decides about its system calls; null: all are allowed.
  RefPtr<SystemCallFilter> filter;
  /// A system call that sets this is not restarted after a signal handler even with SA_RESTART
  /// (poll, select, epoll_wait, nanosleep, sockets with a time-out [signal(7)]). Cleared at entry.
  bool never_restart = false;
  /// Nanosleep, poll and futex waits that an ignored or stopped signal interrupted go on until
  /// this, the deadline of the first attempt [restart_syscall(2)]. nullopt: none.
  std::optional<Instant> restart_deadline;
  /// A task of the kernel's own in this process (an io_uring worker): it does not keep the process
  /// alive. Before start().
  bool is_worker = false;
  RestartableSequence sequence;
  /// The thread was away from the CPU: the area's CPU number may be wrong, and a critical section
  /// must be aborted, before the application goes on.
  [[nodiscard]] bool is_sequence_stale() const {
    return (return_work_.load(std::memory_order_relaxed) & kStaleSequence) != 0;
  }
  void mark_sequence_stale() { set_return_work(kStaleSequence, true); }
  void mark_sequence_settled() { set_return_work(kStaleSequence, false); }
  /// Time in system calls, estimated: calls that take long are all measured, of short ones every
  /// so many (linux/entry).
  struct SystemTime {
    std::atomic<int64_t> ns{0};
    uint32_t period = 1;     ///< one call in so many is measured
    uint32_t countdown = 1;  ///< until the next
  } system_time;
  /// Any thread.
  [[nodiscard]] CpuTimes cpu_times() const;
  /// Goes when the task exits.
  std::unique_ptr<TaskAttachment> attachment;
  /// The exception that is being turned into a signal, for ucontext: trap number, error, CR2.
  uint64_t fault_vector = 0, fault_error = 0, fault_address = 0;

 private:
  friend class Process;
  friend struct TableAccess;
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  Task() = default;
  static void thread_entry(void* argument);
  void copy_fpu_state();
  void release_user_state();
  void become_leader();
  void drop_reference_of_process();

  int tid_ = 0;
  Task* next_in_table_ = nullptr;
  RefPtr<Process> process_;
  RefPtr<Thread> thread_;
  ListNode process_node_;
  enum ReturnWork : uint32_t { kInterruption = 1, kStaleSequence = 2 };
  void set_return_work(ReturnWork bit, bool wanted) {
    if (wanted) {
      return_work_.fetch_or(bit, std::memory_order_release);
    } else {
      return_work_.fetch_and(~uint32_t{bit}, std::memory_order_release);
    }
  }
  std::atomic<uint32_t> return_work_{0};
  friend class NoWaitScope;
  bool no_wait_ = false;  // read and written by the task itself only
  arch::TrapFrame start_frame_{};
  uint64_t start_thread_pointer_ = 0;
  Preparation preparation_ = nullptr;
  void* preparation_argument_ = nullptr;
};

/// Null on a kernel thread.
inline Task* current_task_or_null() {
  // Every ThreadOwner in the system is a Task: this layer is the only one that sets owners.
  return static_cast<Task*>(Thread::current().owner());
}
/// The running application thread's task. Never called on a kernel thread.
inline Task& current_task() { return *current_task_or_null(); }

/// While it lasts, no sleep of the calling task that a signal may end begins: what would have slept
/// fails with kRestart (or kIntr) at once, or returns what it has. Other sleeps, such as for a
/// disk, are as ever. Without effect on a kernel thread.
class NoWaitScope {
 public:
  NoWaitScope();
  ~NoWaitScope();
  NoWaitScope(const NoWaitScope&) = delete;
  NoWaitScope& operator=(const NoWaitScope&) = delete;

 private:
  Task* task_;
  bool before_ = false;
};

/// Whether `creator` may have one more task: kAgain at RLIMIT_NPROC, or when the machine's memory
/// would not do for the kernel stacks (Linux's threads-max).
Result<void> check_task_limit(Task& creator);

/// Replaces the caller's blocked set for the length of a system call (ppoll, pselect6, epoll_pwait,
/// sigsuspend): a signal that arrives is delivered under `mask`, and the old set comes back when
/// the handler returns; without a signal, at once.
class TemporarySignalMask {
 public:
  explicit TemporarySignalMask(std::optional<SignalSet> mask);
  /// Restores unless a signal waits for delivery under the temporary mask.
  ~TemporarySignalMask();
  TemporarySignalMask(const TemporarySignalMask&) = delete;
  TemporarySignalMask& operator=(const TemporarySignalMask&) = delete;

 private:
  bool active_;
};

}  // namespace aril::linux_abi
