#include "arch/context.hpp"
#include "linux/files/file_table.hpp"
#include "linux/patch/patcher.hpp"
#include "linux/process/clone_flags.hpp"
#include "linux/process/family.hpp"
#include "linux/process/fs_context.hpp"
#include "operations.hpp"
#include "out_of_memory.hpp"
#include "pidfd.hpp"

/// clone without CLONE_THREAD: a process [clone(2), fork(2), vfork(2)].
namespace aril::linux_abi {
namespace {

using namespace clone_flag;

Result<void> check_flags(const CloneArguments& arguments) {
  if ((arguments.flags & kParent) != 0 && current_process().pid() == 1) return fail(Errno::kInval);
  constexpr uint64_t kPidfdConflicts = kParentSetTid;
  // clone(2) hands both results to the same place.
  if ((arguments.flags & kPidfd) != 0 && (arguments.flags & kPidfdConflicts) != 0 &&
      arguments.pidfd == arguments.parent_tid)
    return fail(Errno::kInval);
  if ((arguments.flags & kSighand) != 0 && (arguments.flags & kClearSighand) != 0)
    return fail(Errno::kInval);
  return {};
}

// On the child's own thread, in its own memory.
void write_child_tid(arch::TrapFrame&, void* address) {
  (void)UserPtr<int32_t>(reinterpret_cast<uint64_t>(address)).write(current_task().tid());
}

void copy_signal_actions(Process& parent, Process& child, bool clear_handlers) {
  LockGuard guard(parent.signal_lock());
  // The child is not known to anybody who would send it a signal yet.
  for (int number = 1; number <= kSignalCount; ++number) {
    SignalAction action = parent.action_locked(number);
    if (clear_handlers && action.handler != kSignalIgnore) action = {};
    child.action_locked(number) = action;
  }
}

void copy_attributes(Process& parent, Process& child) {
  {
    LockGuard guard(parent.mutex());
    // Nobody else has seen the child: its own mutex need not be taken.
    child.limits = parent.limits;
    child.queued_signal_limit = parent.queued_signal_limit.load();
    child.program = parent.program;
    child.oom_score_adjustment = parent.oom_score_adjustment;
    child.personality = parent.personality;
    child.dumpable = parent.dumpable;
  }
  child.note_user_ids(current_task().credentials);
}

Result<RefPtr<Process>> make_process(Process& parent, const CloneArguments& arguments) {
  RefPtr<AddressSpace> space = (arguments.flags & kVm) != 0
                                   ? parent.address_space_ref()
                                   : ARIL_TRY(fork_address_space(parent.address_space()));
  RefPtr<FileTable> files = (arguments.flags & kFiles) != 0 ? RefPtr<FileTable>(&parent.files())
                                                            : ARIL_TRY(parent.files().clone());
  RefPtr<FsContext> fs = (arguments.flags & kFs) != 0 ? RefPtr<FsContext>(&parent.fs())
                                                      : ARIL_TRY(parent.fs().clone());
  RefPtr<Process> child =
      ARIL_TRY(Process::create(std::move(space), std::move(files), std::move(fs)));
  copy_attributes(parent, *child);
  const ResourceLimit& cpu_limit = child->limits[Resource::kCpu];
  if (cpu_limit.current != kUnlimited && enforce_cpu_limit != nullptr)
    ARIL_TRY(enforce_cpu_limit(*child, cpu_limit));
  copy_signal_actions(parent, *child, (arguments.flags & kClearSighand) != 0);
  return child;
}

Result<RefPtr<Task>> make_task(const RefPtr<Process>& process, const arch::TrapFrame& frame,
                               const CloneArguments& arguments) {
  Task& caller = current_task();
  arch::TrapFrame child_frame = frame;
  child_frame.rax = 0;
  if (arguments.stack_pointer != 0) child_frame.rsp = arguments.stack_pointer;
  uint64_t tls = (arguments.flags & kSetTls) != 0 ? arguments.tls : arch::thread_pointer();
  RefPtr<Task> task =
      ARIL_TRY(Task::create(process, process->pid(), caller.thread().name(), child_frame, tls));
  task->inherit(caller);
  // [sigaltstack(2)] Memory that is shared is not on loan to two.
  if ((arguments.flags & (kVm | kVfork)) != kVm) task->alternate_stack = caller.alternate_stack;
  // [rseq(2)] The area was copied with the memory; the child may start on another CPU.
  if ((arguments.flags & kVm) == 0) {
    task->sequence = caller.sequence;
    if (caller.sequence.address != 0) task->mark_sequence_stale();
  }
  if ((arguments.flags & kChildClearTid) != 0) task->clear_child_tid = arguments.child_tid;
  if ((arguments.flags & kChildSetTid) != 0)
    task->set_preparation(&write_child_tid, reinterpret_cast<void*>(arguments.child_tid));
  return task;
}

// A signal that ends or stops the caller, which has not noticed yet.
bool is_taken_down(Task& caller) {
  if (task_must_exit(caller)) return true;
  LockGuard guard(caller.process().signal_lock());
  SignalSet deliverable = caller.deliverable_locked();
  for (int number = 1; number <= kSignalCount; ++number)
    if (deliverable.contains(number) && !kIgnoredByDefault.contains(number) &&
        caller.process().action_locked(number).handler == kSignalDefault)
      return true;
  return false;
}

void share_handlers_locked(Process& caller, Process& child) {
  static constinit uint64_t last_group = 0;
  if (caller.handler_group == 0) caller.handler_group = ++last_group;
  child.handler_group = caller.handler_group.load();
  // Again: they may have changed since the child was made.
  copy_signal_actions(caller, child, false);
}

// A signal to the caller's group comes either before this, and then there is no child, or after,
// and then the child is a member: nobody escapes kill(-group) by forking.
Result<void> join_family(Task& task, Process& child, const CloneArguments& arguments) {
  Process& caller = task.process();
  LockGuard guard(family::lock());
  if (is_taken_down(task)) return fail(Errno::kRestart);
  child.process_group = caller.process_group.load();
  child.session = caller.session.load();
  bool is_sibling = (arguments.flags & kParent) != 0;
  child.family.creator = is_sibling ? caller.family.creator : task.tid();
  if ((arguments.flags & kSighand) != 0) share_handlers_locked(caller, child);
  child.family.exit_signal = is_sibling ? caller.family.exit_signal : arguments.exit_signal;
  Process* parent = is_sibling ? caller.family.parent : &caller;
  family::join_locked(child, parent != nullptr ? parent : &caller);
  return {};
}

// Takes back join_family: the child has not run.
void leave_family(Process& child) {
  RefPtr<Process> reference;
  {
    LockGuard guard(family::lock());
    Process* parent = child.family.parent;
    reference = family::leave_locked(child);
    // Another of its threads may wait for it already.
    if (parent != nullptr) parent->child_queue().wake_all();
  }
}

// [vfork(2)] The caller runs on when the child does not use its memory any more. Signals wait
// meanwhile; only the end of the process ends the wait.
void wait_for_memory(Task& caller, Process& child) {
  ThreadWaiter left, ending;
  child.memory_queue().add(left);
  caller.process().stop_queue().add(ending);
  for (;;) {
    ThreadWaiter::prepare();
    if (child.has_left_memory() || task_must_exit(caller)) break;
    ThreadWaiter::block(Instant::never(), Interruptible::kNo);
  }
  ThreadWaiter::cancel();
  child.memory_queue().remove(left);
  caller.process().stop_queue().remove(ending);
}

}  // namespace

Result<int64_t> clone_process(arch::TrapFrame& frame, const CloneArguments& arguments) {
  ARIL_TRY(check_flags(arguments));
  Task& caller = current_task();
  ARIL_TRY(check_task_limit(caller));
  watch_memory();
  RefPtr<Process> child = ARIL_TRY(make_process(caller.process(), arguments));
  RefPtr<Task> task = ARIL_TRY(make_task(child, frame, arguments));
  ARIL_TRY(join_family(caller, *child, arguments));
  if ((arguments.flags & kPidfd) != 0) {
    if (Result<void> given = give_pidfd(child, arguments.pidfd); !given) {
      leave_family(*child);
      return fail(given.error());
    }
  }
  if ((arguments.flags & kParentSetTid) != 0)
    (void)UserPtr<int32_t>(arguments.parent_tid).write(child->pid());
  int pid = child->pid();
  task->start();
  if ((arguments.flags & kVfork) != 0) wait_for_memory(caller, *child);
  return pid;
}

}  // namespace aril::linux_abi
