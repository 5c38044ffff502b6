#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/intrusive_list.hpp"
#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "fs/vfs/open_file.hpp"
#include "fs/vfs/path.hpp"
#include "kernel/sched/mutex.hpp"
#include "kernel/sched/wait_queue.hpp"
#include "kernel/vm/address_space.hpp"
#include "linux/abi/signal.hpp"
#include "linux/process/credentials.hpp"
#include "linux/process/limits.hpp"
#include "linux/process/pending_signals.hpp"
#include "linux/process/task.hpp"

namespace aril::linux_abi {

class FileTable;  // linux/files/file_table.hpp
class FsContext;  // linux/process/fs_context.hpp

/// The interval and POSIX timers of a process; linux/time derives its own and makes it at first
/// use.
class ProcessTimers {
 public:
  virtual ~ProcessTimers() = default;
  /// execve: the interval timers go on, the others are deleted.
  virtual void forget_posix_timers() = 0;
};

/// What another component keeps for a process and gives up when the process ends; derived there and
/// made at first use.
class ProcessResource {
 public:
  virtual ~ProcessResource() = default;
};

/// How a process ended, as wait4 tells it.
struct ExitStatus {
  int code = 0;    ///< exit(code & 0xff), when signal is 0
  int signal = 0;  ///< the signal that ended it
  bool core_dumped = false;
  /// What a shell, or `aril`, shows: the code, or 128 + signal.
  [[nodiscard]] int as_shell_status() const { return signal != 0 ? 128 + signal : code; }
};

/// The program that a process runs, for /proc. Immutable once execve has published it: a forked
/// child shares it.
struct ProgramRecord final : RefCounted {
  vfs::Path executable;  ///< /proc/self/exe
  vfs::Execution execution;
  std::string command_line;      ///< argv, each with its NUL: /proc/self/cmdline
  std::string environment;       ///< the same of envp: /proc/self/environ
  std::string auxiliary_vector;  ///< /proc/self/auxv
  /// Where execve put things, for /proc/self/stat.
  struct Layout {
    uint64_t code_start = 0, code_end = 0, data_start = 0, data_end = 0, break_start = 0;
    uint64_t stack_start = 0, arguments_start = 0, arguments_end = 0, environment_start = 0,
             environment_end = 0;
  } layout;
};

/// CPU time and other resources that tasks or processes which are gone have used [getrusage(2)].
struct ResourceUse {
  CpuTimes cpu_times;
  uint64_t voluntary_switches = 0, involuntary_switches = 0;
  uint64_t peak_resident_pages = 0;

  void add(const ResourceUse& other);
};

/// One Linux process (thread group): what its tasks share.
///
/// Life cycle: create() registers it in the table under its pid; family::join() makes it a child of
/// its parent; the first Task is started; it lives until its last task has exited. Then it is a
/// zombie: files and memory are gone, the exit status stays, until its parent has collected it
/// (family::leave). The end of the first process ends the machine.
///
/// Thread-safe where not said otherwise. `mutex()` (LockRank::kProcess) guards what has no lock of
/// its own; `signal_lock()` guards signal actions and every pending set of the process and its
/// tasks.
class Process final : public RefCounted {
 public:
  /// Leader of a session and group of its own. kNoMem; kAgain when no pid is left.
  static Result<RefPtr<Process>> create(RefPtr<AddressSpace> space, RefPtr<FileTable> files,
                                        RefPtr<FsContext> fs);
  ~Process();

  [[nodiscard]] int pid() const { return pid_; }
  /// 0: none.
  [[nodiscard]] int parent_pid() const { return parent_pid_.load(std::memory_order_relaxed); }
  [[nodiscard]] Instant start_time() const { return start_time_; }

  /// The memory; replaced by execve, by its only remaining task.
  [[nodiscard]] AddressSpace& address_space() const { return *address_space_; }
  [[nodiscard]] const RefPtr<AddressSpace>& address_space_ref() const { return address_space_; }
  void replace_address_space(RefPtr<AddressSpace> space);
  /// execve: gives the process a table of its own if it shares one (CLONE_FILES). kNoMem.
  Result<void> unshare_files();
  /// True once execve or the end has given up the memory that the process was created with: a vfork
  /// ends then. memory_queue() is woken.
  [[nodiscard]] bool has_left_memory() const {
    return left_memory_.load(std::memory_order_acquire);
  }
  WaitQueue& memory_queue() { return memory_queue_; }

  /// Descriptors; null once the process is a zombie (no task runs then).
  [[nodiscard]] FileTable& files() const { return *files_; }
  /// Root, working directory, umask.
  [[nodiscard]] FsContext& fs() const { return *fs_; }

  /// For others than its own tasks: null once it is a zombie.
  RefPtr<AddressSpace> find_address_space();
  RefPtr<FileTable> find_files();
  RefPtr<FsContext> find_fs();

  Mutex& mutex() { return mutex_; }

  // Tasks. The visitor runs under tasks_lock(), a spin lock.
  void add_task(Task& task);
  [[nodiscard]] size_t task_count() const { return task_count_.load(std::memory_order_relaxed); }
  template <typename Visitor>
  void for_each_task(Visitor visit) {
    LockGuard guard(tasks_lock_);
    for_each_task_locked(visit);
  }
  template <typename Visitor>
  void for_each_task_locked(Visitor visit) {
    for (Task& task : tasks_) visit(task);
  }
  SpinLock& tasks_lock() { return tasks_lock_; }
  [[nodiscard]] RefPtr<Task> find_task(int tid);

  // Signals (the operations are in linux/signal).
  SpinLock& signal_lock() { return signal_lock_; }
  SignalAction& action_locked(int number) { return actions_[size_t(number - 1)]; }
  PendingSignals& pending_locked() { return pending_; }
  /// Processes with the same number share their signal actions [clone(2): CLONE_SIGHAND]; 0:
  /// nobody's are shared. Each has a copy, and share_action() (linux/signal) passes changes on.
  /// Changes under family::lock().
  std::atomic<uint64_t> handler_group{0};
  /// Instances that wait for this process and its tasks, but for those that their senders own.
  std::atomic<uint32_t> queued_signals{0};
  /// The current RLIMIT_SIGPENDING, for senders in any context.
  std::atomic<uint64_t> queued_signal_limit{ResourceLimits{}[Resource::kPendingSignals].current};
  /// Woken when a signal becomes pending for the process or any task: signalfd, sigtimedwait.
  WaitQueue& signal_queue() { return signal_queue_; }

  /// Asks every task to end; the first caller's status counts. Any thread.
  void request_exit(ExitStatus status);
  [[nodiscard]] bool is_exiting() const { return exiting_.load(std::memory_order_acquire); }
  [[nodiscard]] ExitStatus exit_status() const { return exit_status_; }
  /// Stops all tasks (`signal` is the stop signal that did it).
  void stop(int signal);
  /// Lets them go on; true when they were stopped. Any context.
  bool resume();
  [[nodiscard]] bool is_stopped() const { return stopped_.load(std::memory_order_acquire); }
  WaitQueue& stop_queue() { return stop_queue_; }
  /// execve: ends every other task and waits until they are gone. kAgain when the process is
  /// exiting or another task is doing the same.
  Result<void> end_other_tasks();

  /// membarrier's registrations: a set of its commands.
  std::atomic<uint32_t> barrier_registrations{0};

  // Job control ids [setpgid(2), setsid(2)]. Written under family::lock().
  std::atomic<int> process_group{0};
  std::atomic<int> session{0};

  // Under mutex().
  ResourceLimits limits;
  RefPtr<const ProgramRecord> program;  ///< null until the first execve
  int oom_score_adjustment = 0;
  uint64_t personality = 0;
  bool dumpable = true;
  /// Sent to this process when its parent ends [PR_SET_PDEATHSIG(2const)]; 0: none.
  std::atomic<int> parent_death_signal{0};
  /// Orphans among its descendants become its children [PR_SET_CHILD_SUBREAPER(2const)].
  std::atomic<bool> is_subreaper{false};
  /// execve was called: its parent cannot move it to another group any more.
  std::atomic<bool> has_executed{false};

  /// Real and saved user id, for others: who may signal it. note_user_ids() publishes them.
  [[nodiscard]] uint32_t real_uid() const { return real_uid_.load(std::memory_order_relaxed); }
  [[nodiscard]] uint32_t saved_uid() const { return saved_uid_.load(std::memory_order_relaxed); }
  void note_user_ids(const Credentials& credentials) {
    real_uid_.store(credentials.uid, std::memory_order_relaxed);
    saved_uid_.store(credentials.suid, std::memory_order_relaxed);
  }

  /// Of tasks that have ended. Under tasks_lock().
  ResourceUse ended_tasks;
  /// CPU time of all tasks, living and ended. Any context.
  [[nodiscard]] CpuTimes cpu_times();
  [[nodiscard]] Duration cpu_time() { return cpu_times().total(); }
  /// The name of its last task, for a zombie. Thread context.
  [[nodiscard]] std::string last_name();
  /// All that the process itself has used. Thread context.
  [[nodiscard]] ResourceUse resource_use();

  /// What the component linux/multiprocess keeps of each process. Under family::lock().
  struct Family {
    Process* parent = nullptr;  ///< null: none. It outlives its children, which it loses at its end
    int creator = 0;            ///< the parent's thread that made it; 0: none of them
    int exit_signal = kSigChld;  ///< what the parent gets at the end; 0: nothing
    enum class Life : uint8_t { kAlive, kZombie, kCollected } life = Life::kAlive;
    bool is_adopted = false;  ///< its first parent is gone
    /// A stop or continuation that the parent has not been told of by wait yet.
    bool stop_waits = false, continue_waits = false;
    int stop_signal = 0;
    ResourceUse collected_children;  ///< children that were waited for, and theirs
  } family;
  /// Woken when a child ends, stops or continues.
  WaitQueue& child_queue() { return child_queue_; }
  /// Woken when this process has become a zombie: pidfds.
  WaitQueue& end_queue() { return end_queue_; }

  std::unique_ptr<ProcessTimers> timers;
  /// linux/ipc: what SEM_UNDO takes back at the end. Not inherited by a fork. Under mutex().
  std::unique_ptr<ProcessResource> semaphore_undo;

 private:
  friend class Task;
  friend struct TableAccess;
  friend struct FamilyAccess;
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  Process();

  void note_exit(Task& task, int code);
  void remove_task(Task& task);
  void release_resources();
  void leave_memory();

  int pid_ = 0;
  Process* next_in_table_ = nullptr;
  std::atomic<int> parent_pid_{0};
  std::atomic<uint32_t> real_uid_{0}, saved_uid_{0};
  ListNode sibling_node_, family_node_;
  IntrusiveList<Process, &Process::sibling_node_> children_;
  Instant start_time_;
  RefPtr<AddressSpace> address_space_;
  RefPtr<FileTable> files_;
  RefPtr<FsContext> fs_;
  Mutex mutex_{LockRank::kProcess};
  SpinLock tasks_lock_{LockRank::kTaskList};
  IntrusiveList<Task, &Task::process_node_> tasks_;
  std::atomic<size_t> task_count_{0};
  std::atomic<size_t> application_task_count_{0};  // without the kernel's workers
  WaitQueue task_ended_;

  SpinLock signal_lock_{LockRank::kSignal};
  std::array<SignalAction, kSignalCount> actions_;
  PendingSignals pending_;
  WaitQueue signal_queue_;

  friend bool task_must_exit(const Task& task);
  std::atomic<bool> exiting_{false};
  std::atomic<bool> stopped_{false};
  std::atomic<Task*> exec_task_{nullptr};
  WaitQueue stop_queue_;
  ExitStatus exit_status_;
  std::array<char, 16> last_name_{};  // under tasks_lock()
  std::atomic<int> leader_code_{
      0};  // what its leader called exit with, should no task end the whole process
  bool is_zombie_ = false;  // its last task is gone
  std::atomic<bool> left_memory_{false};
  WaitQueue memory_queue_, child_queue_, end_queue_;
};

/// The process of the running thread, which must be an application thread.
inline Process& current_process() { return current_task_or_null()->process(); }

/// All processes and tasks by number. Thread-safe.
namespace process_table {
/// Null when there is none.
RefPtr<Process> find_process(int pid);
RefPtr<Task> find_task(int tid);
/// In order of pid; each is referenced, so the visitor may sleep.
void for_each(void (*visit)(Process& process, void* argument), void* argument);
/// Reserves a number for a task. kAgain when all are in use.
Result<int> allocate_id();
void free_id(int id);
}  // namespace process_table

/// True when its process is ending, or another task of it runs execve: the task must call
/// Task::exit before it returns to the application.
bool task_must_exit(const Task& task);

/// Told when the first process has ended, on its last task's thread: the platform stops the
/// machine.
using InitExitHandler = void (*)(ExitStatus status);
void set_init_exit_handler(InitExitHandler handler);

}  // namespace aril::linux_abi
