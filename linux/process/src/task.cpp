#include "linux/process/task.hpp"

#include <algorithm>
#include <cstring>

#include "arch/context.hpp"
#include "arch/upcalls.hpp"
#include "kernel/log/log.hpp"
#include "kernel/memory/page_allocator.hpp"
#include "kernel/vm/user_copy.hpp"
#include "linux/process/family.hpp"
#include "linux/process/futex.hpp"
#include "linux/process/process.hpp"
#include "process_table_internal.hpp"

namespace aril::linux_abi {
namespace {

/// Linux's threads-max: kernel stacks may take an eighth of the memory. A process that has done
/// nothing yet needs about as much again three times over, for page tables and what it writes
/// first.
size_t task_limit(size_t total_pages) {
  constexpr size_t kShare = 8, kLeast = 64;
  return std::max(kLeast, total_pages * kPageSize / (kShare * Thread::kStackSize));
}

void report_task_limit(const char* what) {
  static constinit std::atomic<bool> reported{false};
  if (!reported.exchange(true))
    write_record(
        "report processes: %zu threads and processes are %s; more are refused "
        "(pass a larger --memory)",
        TaskCounts::living.load(std::memory_order_relaxed), what);
}

/// The last of the memory belongs to those who run already: a new task would take it for its stack
/// and page tables, and what runs would be ended for want of it.
Result<void> check_room() {
  constexpr size_t kKeptShare = 32;
  page_allocator::Statistics memory = page_allocator::statistics();
  if (TaskCounts::living.load(std::memory_order_relaxed) +
          TaskCounts::zombies.load(std::memory_order_relaxed) >=
      task_limit(memory.total_pages)) {
    report_task_limit("as many as fit");
    return fail(Errno::kAgain);
  }
  size_t kept = memory.total_pages / kKeptShare;
  if (memory.free_pages >= kept) return {};
  page_allocator::reclaim(kept - memory.free_pages);
  if (page_allocator::statistics().free_pages >= kept) return {};
  report_task_limit("running, and the memory is used up");
  return fail(Errno::kNoMem);
}

}  // namespace

Result<void> check_task_limit(Task& creator) {
  ARIL_TRY(check_room());
  Process& process = creator.process();
  uint64_t limit;
  {
    LockGuard guard(process.mutex());
    limit = process.limits[Resource::kProcesses].current;
  }
  const Credentials& credentials = creator.credentials;
  if (limit == kUnlimited || credentials.uid == 0 || credentials.can(Capability::kSysResource) ||
      credentials.can(Capability::kSysAdmin))
    return {};
  uint64_t count = 0;
  LockGuard guard(family::lock());
  family::for_each_locked([&](Process& other) {
    if (other.real_uid() == credentials.uid) count += std::max<size_t>(other.task_count(), 1);
  });
  if (count >= limit) return fail(Errno::kAgain);
  return {};
}

Result<RefPtr<Task>> Task::create(RefPtr<Process> process, int tid, std::string_view name,
                                  const arch::TrapFrame& frame, uint64_t thread_pointer) {
  RefPtr<Task> task = ARIL_TRY(try_make_ref<Task>());
  TaskCounts::living.fetch_add(1, std::memory_order_relaxed);
  task->thread_ =
      ARIL_TRY(Thread::create(name, Thread::Kind::kApplication, &Task::thread_entry, task.get()));
  task->process_ = std::move(process);
  task->tid_ = tid != 0 ? tid : ARIL_TRY(process_table::allocate_id());
  task->start_frame_ = frame;
  task->start_thread_pointer_ = thread_pointer;
  task->thread_->set_owner(task.get());
  TableAccess::add(*task);
  return task;
}

Task::~Task() {
  TaskCounts::living.fetch_sub(1, std::memory_order_relaxed);
  if (tid_ == 0) return;
  TableAccess::remove(*this);
  if (!is_leader()) process_table::free_id(tid_);
}

bool Task::is_leader() const { return tid_ == process_->pid(); }

void Task::copy_fpu_state() {
  Thread& current = Thread::current();
  current.save_fpu();
  std::memcpy(thread_->fpu_area(), current.fpu_area(), arch::fpu_state_size());
}

void Task::inherit(Task& caller) {
  copy_fpu_state();
  blocked = caller.blocked;
  credentials = caller.credentials;
  timer_slack_ns = caller.timer_slack_ns;
  io_priority = caller.io_priority;
  filter = caller.filter;
  scheduling_policy = caller.scheduling_policy;
  scheduling_priority = caller.scheduling_priority;
  thread_->set_nice(caller.thread().nice());
  (void)thread_->set_affinity(caller.thread().affinity());
}

void Task::start() {
  process_->add_task(*this);
  thread_->start();
}

void Task::thread_entry(void* argument) {
  auto& task = *static_cast<Task*>(argument);
  arch::enable_interrupts();
  arch::TrapFrame frame = task.start_frame_;
  arch::set_thread_pointer(task.start_thread_pointer_);
  if (task.preparation_ != nullptr) task.preparation_(frame, task.preparation_argument_);
  arch::aril_before_return_to_application(frame);
  arch::disable_interrupts();
  arch::enter_application(frame);
}

void Task::on_switch_in() {
  set_current_address_space(process_->address_space_ref().get());
  arch::this_cpu().return_work = &return_work_;
  if (sequence.address != 0) mark_sequence_stale();
}

CpuTimes Task::cpu_times() const {
  Duration total = thread_->cpu_time();
  Duration system{std::min(system_time.ns.load(std::memory_order_relaxed), total.ns)};
  return {.user = total - system, .system = system};
}

void Task::release_user_state() {
  exit_robust_list(robust_list, robust_list_size, tid_);
  // Linux leaves the word alone when nobody is left who could look at it through this memory.
  bool is_last = process_->task_count() == 1 && process_->address_space().ref_count() == 1;
  if (clear_child_tid == 0 || is_last) return;
  // [set_tid_address(2)]: pthread_join sleeps on this word.
  if (UserPtr<uint32_t>(clear_child_tid).write(0)) (void)wake_futex(clear_child_tid, 1);
}

void Task::exit(int code) {
  Task& task = current_task();
  Process& process = task.process();
  task.release_user_state();
  task.attachment.reset();
  process.note_exit(task, code);
  {
    LockGuard guard(process.signal_lock());
    task.pending.flush(SignalSet::all());
  }
  // Its number answers no more before anybody can learn of the end and collect the process.
  TableAccess::remove(task);
  process.remove_task(task);
  {
    // From here on the thread has no application memory: the process may be gone.
    arch::InterruptGuard guard;
    set_current_address_space(nullptr);
  }
  task.drop_reference_of_process();
  Thread::exit();
}

void Task::drop_reference_of_process() {
  if (drop_ref()) delete this;
}

void Task::become_leader() {
  if (is_leader()) return;
  TableAccess::remove(*this);
  process_table::free_id(tid_);
  tid_ = process_->pid();
  TableAccess::add(*this);
}

SignalSet Task::deliverable_locked() const {
  return (pending.set() | process_->pending_locked().set()) & ~blocked;
}

bool Task::update_interruption_locked() {
  bool interrupted =
      !deliverable_locked().empty() || task_must_exit(*this) || process_->is_stopped();
  set_return_work(kInterruption, interrupted);
  return interrupted;
}

void Task::interrupt() {
  set_return_work(kInterruption, true);
  thread_->interrupt();
}

NoWaitScope::NoWaitScope() : task_(current_task_or_null()) {
  if (task_ != nullptr) before_ = std::exchange(task_->no_wait_, true);
}

NoWaitScope::~NoWaitScope() {
  if (task_ != nullptr) task_->no_wait_ = before_;
}

TemporarySignalMask::TemporarySignalMask(std::optional<SignalSet> mask)
    : active_(mask.has_value()) {
  if (!active_) return;
  Task& task = current_task();
  LockGuard guard(task.process().signal_lock());
  task.saved_blocked = task.blocked;
  task.blocked = *mask & ~kUnblockableSignals;
  task.update_interruption_locked();
}

TemporarySignalMask::~TemporarySignalMask() {
  if (!active_) return;
  Task& task = current_task();
  LockGuard guard(task.process().signal_lock());
  if (!task.deliverable_locked().empty()) return;
  task.blocked = *task.saved_blocked;
  task.saved_blocked.reset();
  task.update_interruption_locked();
}

}  // namespace aril::linux_abi
