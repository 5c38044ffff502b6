#include "linux/proc/process_source.hpp"

#include "linux/files/file_table.hpp"
#include "linux/process/family.hpp"
#include "linux/process/fs_context.hpp"
#include "linux/process/process.hpp"

namespace aril::linux_abi {
namespace {

using procfs::ProcessView;

Result<RefPtr<Process>> get_process(int pid) {
  RefPtr<Process> process = process_table::find_process(pid);
  if (!process) return fail(Errno::kSrch);
  return process;
}

// Any task of the process, for what Linux keeps by task.
RefPtr<Task> first_task(Process& process) {
  RefPtr<Task> first;
  process.for_each_task([&](Task& task) {
    if (!first && task.try_add_ref()) first = RefPtr<Task>::adopt(&task);
  });
  return first;
}

Result<RefPtr<Task>> get_task(Process& process, int pid, int tid) {
  RefPtr<Task> task = tid == pid ? first_task(process) : process.find_task(tid);
  if (!task) return fail(Errno::kSrch);
  return task;
}

void add_credentials(ProcessView& view, const Credentials& credentials) {
  view.uid = credentials.uid, view.euid = credentials.euid;
  view.suid = credentials.suid, view.fsuid = credentials.fsuid;
  view.gid = credentials.gid, view.egid = credentials.egid;
  view.sgid = credentials.sgid, view.fsgid = credentials.fsgid;
  if (credentials.groups) view.groups = credentials.groups->ids;
  view.capabilities_inheritable = credentials.inheritable;
  view.capabilities_permitted = credentials.permitted;
  view.capabilities_effective = credentials.effective;
  view.capabilities_bounding = credentials.bounding;
  view.capabilities_ambient = credentials.ambient;
  view.no_new_privileges = credentials.no_new_privileges;
}

void add_signals(ProcessView& view, Process& process, Task& task) {
  LockGuard guard(process.signal_lock());
  SignalSet ignored, caught;
  for (int number = 1; number <= kSignalCount; ++number) {
    uint64_t handler = process.action_locked(number).handler;
    if (handler == kSignalIgnore) ignored.add(number);
    if (handler > kSignalIgnore) caught.add(number);
  }
  view.signals_ignored = ignored.bits();
  view.signals_caught = caught.bits();
  view.signals_pending = task.pending.set().bits();
  view.signals_pending_shared = process.pending_locked().set().bits();
  view.signals_blocked = task.blocked.bits();
}

void add_thread(ProcessView& view, const Thread& thread) {
  view.comm = std::string(thread.name());
  view.nice = thread.nice();
  view.last_cpu = thread.last_cpu();
  view.affinity = thread.affinity();
  view.voluntary_switches = thread.voluntary_switches();
  view.involuntary_switches = thread.involuntary_switches();
  view.state = &thread == &Thread::current() ? 'R' : 'S';
}

void add_layout(ProcessView& view, Process& process) {
  LockGuard guard(process.mutex());
  view.oom_score_adjustment = process.oom_score_adjustment;
  if (!process.program) return;
  const ProgramRecord::Layout& layout = process.program->layout;
  view.code_start = layout.code_start, view.code_end = layout.code_end;
  view.data_start = layout.data_start, view.data_end = layout.data_end;
  view.break_start = layout.break_start, view.stack_start = layout.stack_start;
  view.arguments_start = layout.arguments_start, view.arguments_end = layout.arguments_end;
  view.environment_start = layout.environment_start;
  view.environment_end = layout.environment_end;
}

bool is_zombie(Process& process) {
  LockGuard guard(family::lock());
  return process.family.life == Process::Family::Life::kZombie;
}

// What is left of a process that its parent has not collected.
ProcessView view_of_zombie(Process& process) {
  ProcessView view;
  view.pid = view.thread_group = process.pid();
  view.parent = process.parent_pid();
  view.process_group = process.process_group.load();
  view.session = process.session.load();
  view.state = 'Z';
  view.comm = process.last_name();
  view.start_time = process.start_time();
  CpuTimes times = process.cpu_times();
  view.user_time = times.user;
  view.system_time = times.system;
  view.uid = view.euid = view.fsuid = process.real_uid();
  view.suid = process.saved_uid();
  return view;
}

class LinuxProcessSource final : public procfs::ProcessSource {
 public:
  int current_pid() override {
    Task* task = current_task_or_null();
    return task != nullptr ? task->process().pid() : 0;
  }
  int current_tid() override {
    Task* task = current_task_or_null();
    return task != nullptr ? task->tid() : 0;
  }

  std::vector<int> pids() override {
    std::vector<int> result;
    process_table::for_each(
        [](Process& process, void* argument) {
          static_cast<std::vector<int>*>(argument)->push_back(process.pid());
        },
        &result);
    return result;
  }
  bool exists(int pid) override { return bool(process_table::find_process(pid)); }

  std::vector<int> tids(int pid) override {
    std::vector<int> result;
    RefPtr<Process> process = process_table::find_process(pid);
    if (!process) return result;
    // Nothing is allocated under the list's spin lock.
    result.reserve(process->task_count() + 8);
    process->for_each_task([&](Task& task) {
      if (result.size() < result.capacity()) result.push_back(task.tid());
    });
    return result;
  }

  vfs::Identity owner(int pid) override {
    vfs::Identity identity;
    RefPtr<Process> process = process_table::find_process(pid);
    RefPtr<Task> task = process ? first_task(*process) : nullptr;
    if (!task) return identity;
    identity.uid = task->credentials.euid;
    identity.gid = task->credentials.egid;
    return identity;
  }

  Result<ProcessView> view(int pid, int tid) override {
    RefPtr<Process> process = ARIL_TRY(get_process(pid));
    Result<RefPtr<Task>> found = get_task(*process, pid, tid);
    if (!found && tid == pid && is_zombie(*process)) return view_of_zombie(*process);
    RefPtr<Task> task = ARIL_TRY(std::move(found));
    ProcessView view;
    view.pid = tid;
    view.thread_group = pid;
    view.parent = process->parent_pid();
    view.process_group = process->process_group.load();
    view.session = process->session.load();
    view.thread_count = static_cast<unsigned>(process->task_count());
    view.start_time = process->start_time();
    CpuTimes times = tid == pid ? process->cpu_times() : task->cpu_times();
    view.user_time = times.user;
    view.system_time = times.system;
    add_credentials(view, task->credentials);
    add_thread(view, task->thread());
    if (process->is_stopped()) view.state = 'T';
    add_signals(view, *process, *task);
    add_layout(view, *process);
    if (RefPtr<FsContext> fs = process->find_fs()) view.umask = fs->umask.load();
    if (RefPtr<AddressSpace> space = process->find_address_space()) view.memory = space->usage();
    return view;
  }

  Result<procfs::LimitViews> limits(int pid) override {
    RefPtr<Process> process = ARIL_TRY(get_process(pid));
    procfs::LimitViews views;
    LockGuard guard(process->mutex());
    for (size_t i = 0; i < views.size(); ++i)
      views[i] = {process->limits.limits[i].current, process->limits.limits[i].maximum};
    return views;
  }

  Result<std::string> command_line(int pid) override {
    return text(pid, &ProgramRecord::command_line);
  }
  Result<std::string> environment(int pid) override {
    return text(pid, &ProgramRecord::environment);
  }
  Result<std::string> auxiliary_vector(int pid) override {
    return text(pid, &ProgramRecord::auxiliary_vector);
  }

  Result<RefPtr<AddressSpace>> address_space(int pid) override {
    return ARIL_TRY(get_process(pid))->find_address_space();
  }

  Result<vfs::Path> executable(int pid) override {
    RefPtr<Process> process = ARIL_TRY(get_process(pid));
    LockGuard guard(process->mutex());
    if (!process->program || !process->program->executable) return fail(Errno::kNoEnt);
    return process->program->executable;
  }
  Result<vfs::Path> working_directory(int pid) override { return ARIL_TRY(get_fs(pid))->cwd(); }
  Result<vfs::Path> root_directory(int pid) override { return ARIL_TRY(get_fs(pid))->root(); }

  Result<std::vector<int>> descriptors(int pid) override {
    return ARIL_TRY(get_files(pid))->open_numbers();
  }
  Result<RefPtr<File>> descriptor(int pid, int fd) override {
    return ARIL_TRY(get_files(pid))->get(fd);
  }
  bool closes_on_exec(int pid, int fd) override {
    Result<RefPtr<FileTable>> files = get_files(pid);
    if (!files) return false;
    Result<CloseOnExec> flag = (*files)->close_on_exec(fd);
    return flag && *flag == CloseOnExec::kYes;
  }

  Result<void> set_comm(int pid, int tid, std::string_view comm) override {
    RefPtr<Process> process = ARIL_TRY(get_process(pid));
    if (current_task_or_null() == nullptr || &current_process() != process.get())
      return fail(Errno::kInval);
    ARIL_TRY(get_task(*process, pid, tid))->thread().set_name(comm);
    return {};
  }
  Result<void> set_oom_score_adjustment(int pid, int value) override {
    RefPtr<Process> process = ARIL_TRY(get_process(pid));
    LockGuard guard(process->mutex());
    process->oom_score_adjustment = value;
    return {};
  }

 private:
  /// Empty for a zombie.
  static Result<std::string> text(int pid, std::string ProgramRecord::* member) {
    RefPtr<Process> process = ARIL_TRY(get_process(pid));
    RefPtr<const ProgramRecord> program;
    {
      LockGuard guard(process->mutex());
      program = process->program;
    }
    return program ? (*program).*member : std::string();
  }
  static Result<RefPtr<FsContext>> get_fs(int pid) {
    RefPtr<FsContext> fs = ARIL_TRY(get_process(pid))->find_fs();
    if (!fs) return fail(Errno::kSrch);
    return fs;
  }
  static Result<RefPtr<FileTable>> get_files(int pid) {
    RefPtr<FileTable> files = ARIL_TRY(get_process(pid))->find_files();
    if (!files) return fail(Errno::kSrch);
    return files;
  }
};

constinit LinuxProcessSource source;

}  // namespace

procfs::ProcessSource& process_source() { return source; }

}  // namespace aril::linux_abi
