#include "linux/process/process.hpp"

#include <algorithm>
#include <new>

#include "base/image_use.hpp"
#include "kernel/log/log.hpp"
#include "kernel/memory/page_allocator.hpp"
#include "linux/files/file_table.hpp"
#include "linux/process/fs_context.hpp"
#include "linux/process/multiprocess.hpp"
#include "process_table_internal.hpp"

namespace aril::linux_abi {
namespace {

constinit std::atomic<InitExitHandler> init_exit_handler{nullptr};
constexpr int kInitPid = 1;

/// Whether a process's memory ends with the machine: to take it apart page by page would serve
/// nobody, unless what there is still to do is short of memory.
bool goes_with_machine([[maybe_unused]] int pid) {
#ifdef ARIL_TINY
  return false;
#else
  if (pid != kInitPid || init_exit_handler.load() == nullptr) return false;
  page_allocator::Statistics memory = page_allocator::statistics();
  return memory.free_pages > memory.total_pages / 4;
#endif
}

}  // namespace

void set_init_exit_handler(InitExitHandler handler) { init_exit_handler = handler; }

Process::Process() : start_time_(now()) {}

void ResourceUse::add(const ResourceUse& other) {
  cpu_times = cpu_times + other.cpu_times;
  voluntary_switches += other.voluntary_switches;
  involuntary_switches += other.involuntary_switches;
  peak_resident_pages = std::max(peak_resident_pages, other.peak_resident_pages);
}

Result<RefPtr<Process>> Process::create(RefPtr<AddressSpace> space, RefPtr<FileTable> files,
                                        RefPtr<FsContext> fs) {
  RefPtr<Process> process = ARIL_TRY(try_make_ref<Process>());
  process->pid_ = ARIL_TRY(process_table::allocate_id());
  process->address_space_ = std::move(space);
  process->files_ = std::move(files);
  process->files_->add_user();
  process->fs_ = std::move(fs);
  process->process_group = process->session = process->pid_;
  TableAccess::add(*process);
  return process;
}

Process::~Process() {
  if (pid_ == 0) return;
  if (is_zombie_) TaskCounts::zombies.fetch_sub(1, std::memory_order_relaxed);
  // A process that never ran, because its creation failed half-way, still has these.
  if (files_) files_->drop_user();
  TableAccess::remove(*this);
  process_table::free_id(pid_);
}

void Process::replace_address_space(RefPtr<AddressSpace> space) {
  {
    LockGuard guard(mutex_);
    std::swap(address_space_, space);
  }
  {
    arch::InterruptGuard guard;
    set_current_address_space(address_space_.get());
  }
  leave_memory();
}

void Process::leave_memory() {
  left_memory_.store(true, std::memory_order_release);
  memory_queue_.wake_all();
}

ARIL_ONLY_FOR(execve)
Result<void> Process::unshare_files() {
  if (files_->user_count() == 1) return {};
  RefPtr<FileTable> own = ARIL_TRY(files_->clone());
  own->add_user();
  {
    LockGuard guard(mutex_);
    std::swap(files_, own);
  }
  own->drop_user();
  return {};
}

void Process::add_task(Task& task) {
  task.add_ref();
  LockGuard guard(tasks_lock_);
  tasks_.push_back(task);
  task_count_.fetch_add(1, std::memory_order_relaxed);
  if (!task.is_worker) application_task_count_.fetch_add(1, std::memory_order_relaxed);
}

void Process::remove_task(Task& task) {
  size_t left;
  {
    LockGuard guard(tasks_lock_);
    const Thread& thread = task.thread();
    ended_tasks.add({.cpu_times = task.cpu_times(),
                     .voluntary_switches = thread.voluntary_switches(),
                     .involuntary_switches = thread.involuntary_switches()});
    last_name_ = {};
    thread.name().copy(last_name_.data(), last_name_.size() - 1);
    tasks_.remove(task);
    left = task_count_.fetch_sub(1, std::memory_order_acq_rel) - 1;
  }
  if (left == 0) {
    release_resources();
  } else {
    task_ended_.wake_all();
  }
}

// Without exit_group the process ends with its last task, with the status of the first one.
void Process::note_exit(Task& task, int code) {
  if (task.is_worker) return;
  if (task.is_leader()) leader_code_ = code;
  if (application_task_count_.fetch_sub(1, std::memory_order_acq_rel) == 1)
    request_exit({.code = leader_code_ & 0xff});
}

// Runs on the last task's thread.
void Process::release_resources() {
  timers.reset();
  semaphore_undo.reset();
  RefPtr<FileTable> files;
  RefPtr<FsContext> fs;
  RefPtr<AddressSpace> space;
  RefPtr<const ProgramRecord> ended_program;
  {
    LockGuard guard(mutex_);
    std::swap(files, files_);
    std::swap(fs, fs_);
    std::swap(space, address_space_);
    std::swap(ended_program, program);
  }
  {
    LockGuard guard(tasks_lock_);
    ended_tasks.peak_resident_pages = space->usage().peak_resident_pages;
  }
  // Descriptors close now even if another process looks at the table at this moment.
  files->drop_user();
  {
    // The thread goes on in the kernel's own tree.
    arch::InterruptGuard guard;
    set_current_address_space(nullptr);
  }
  if (goes_with_machine(pid_)) {
    static_cast<void>(space.leak());
  } else {
    space.reset();
  }
  leave_memory();
  is_zombie_ = true;
  TaskCounts::zombies.fetch_add(1, std::memory_order_relaxed);
  if (pid_ == kInitPid) {
    InitExitHandler handler = init_exit_handler.load();
    if (handler != nullptr) handler(exit_status_);
  } else if (has_multiprocess()) {
    aril_multiprocess.process_ended(*this);
  }
}

RefPtr<AddressSpace> Process::find_address_space() {
  LockGuard guard(mutex_);
  return address_space_;
}
RefPtr<FileTable> Process::find_files() {
  LockGuard guard(mutex_);
  return files_;
}
RefPtr<FsContext> Process::find_fs() {
  LockGuard guard(mutex_);
  return fs_;
}

RefPtr<Task> Process::find_task(int tid) {
  RefPtr<Task> task = process_table::find_task(tid);
  if (task && &task->process() == this) return task;
  return nullptr;
}

void Process::request_exit(ExitStatus status) {
  if (!exiting_.exchange(true, std::memory_order_acq_rel)) exit_status_ = status;
  for_each_task([](Task& task) { task.interrupt(); });
  stop_queue_.wake_all();
}

void Process::stop(int signal) {
  if (stopped_.exchange(true, std::memory_order_acq_rel)) return;
  for_each_task([](Task& task) { task.interrupt(); });
  if (has_multiprocess()) aril_multiprocess.process_stopped(*this, signal);
}

bool Process::resume() {
  if (!stopped_.exchange(false, std::memory_order_acq_rel)) return false;
  stop_queue_.wake_all();
  return true;
}

ARIL_ONLY_FOR(execve)
Result<void> Process::end_other_tasks() {
  Task& self = current_task();
  Task* none = nullptr;
  if (is_exiting() || !exec_task_.compare_exchange_strong(none, &self)) return fail(Errno::kAgain);
  for_each_task([&](Task& task) {
    if (&task != &self) task.interrupt();
  });
  stop_queue_.wake_all();
  // Not interruptible: the others answer promptly, since their own sleeps were interrupted.
  (void)task_ended_.wait_until([&] { return task_count() == 1; }, Instant::never(),
                               Interruptible::kNo);
  self.become_leader();
  exec_task_ = nullptr;
  return {};
}

CpuTimes Process::cpu_times() {
  LockGuard guard(tasks_lock_);
  CpuTimes total = ended_tasks.cpu_times;
  for_each_task_locked([&](Task& task) { total = total + task.cpu_times(); });
  return total;
}

std::string Process::last_name() {
  std::array<char, 16> name;
  {
    LockGuard guard(tasks_lock_);
    name = last_name_;
  }
  return name.data();
}

ResourceUse Process::resource_use() {
  ResourceUse use;
  {
    LockGuard guard(tasks_lock_);
    use = ended_tasks;
    for_each_task_locked([&](Task& task) {
      const Thread& thread = task.thread();
      use.add({.cpu_times = task.cpu_times(),
               .voluntary_switches = thread.voluntary_switches(),
               .involuntary_switches = thread.involuntary_switches()});
    });
  }
  if (RefPtr<AddressSpace> space = find_address_space())
    use.peak_resident_pages = std::max(use.peak_resident_pages, space->usage().peak_resident_pages);
  return use;
}

bool task_must_exit(const Task& task) {
  const Process& process = task.process();
  if (process.is_exiting()) return true;
  Task* exec_task = process.exec_task_.load(std::memory_order_acquire);
  return exec_task != nullptr && exec_task != &task;
}

vfs::Identity file_system_identity(const Credentials& credentials) {
  vfs::Identity identity;
  identity.uid = credentials.fsuid;
  identity.gid = credentials.fsgid;
  if (credentials.groups) identity.groups = credentials.groups->ids;
  identity.has_override = credentials.can(Capability::kDacOverride);
  return identity;
}

vfs::LookupContext caller_lookup_context() {
  Task& task = current_task();
  FsContext& fs = task.process().fs();
  return vfs::LookupContext{.mounts = fs.mounts(),
                            .identity = file_system_identity(task.credentials),
                            .root = fs.root(),
                            .umask = fs.umask.load(std::memory_order_relaxed)};
}

}  // namespace aril::linux_abi
