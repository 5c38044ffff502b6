#include <array>
#include <bitset>

#include "kernel/sync/spin_lock.hpp"
#include "linux/process/family.hpp"
#include "process_table_internal.hpp"

namespace aril::linux_abi {
namespace {

constexpr int kIdLimit = 32768;       // Linux's default pid_max
constexpr int kFirstAfterWrap = 300;  // Linux's RESERVED_PIDS
constexpr size_t kBuckets = 256;

struct Table {
  SpinLock lock{LockRank::kTaskList};
  std::bitset<kIdLimit> used;
  int last_id = 0;
  bool has_wrapped = false;
  std::array<Task*, kBuckets> tasks{};
  std::array<Process*, kBuckets> processes{};
};
constinit Table table;

size_t bucket_of(int id) { return size_t(id) % kBuckets; }

// Chains through Object::next_in_table_.
template <typename Object>
void insert(std::array<Object*, kBuckets>& chains, int id, Object& object, Object*& next) {
  LockGuard guard(table.lock);
  next = chains[bucket_of(id)];
  chains[bucket_of(id)] = &object;
}

bool names_group_or_session(int id) {
  for (Process& process : family::everyone_locked())
    if (process.process_group.load() == id || process.session.load() == id) return true;
  return false;
}

}  // namespace

void TableAccess::add(Task& task) { insert(table.tasks, task.tid_, task, task.next_in_table_); }
void TableAccess::add(Process& process) {
  insert(table.processes, process.pid_, process, process.next_in_table_);
}

void TableAccess::remove(Task& task) {
  LockGuard guard(table.lock);
  for (Task** link = &table.tasks[bucket_of(task.tid_)]; *link != nullptr;
       link = &(*link)->next_in_table_) {
    if (*link != &task) continue;
    *link = task.next_in_table_;
    return;
  }
}
void TableAccess::remove(Process& process) {
  LockGuard guard(table.lock);
  for (Process** link = &table.processes[bucket_of(process.pid_)]; *link != nullptr;
       link = &(*link)->next_in_table_) {
    if (*link != &process) continue;
    *link = process.next_in_table_;
    return;
  }
}

RefPtr<Task> TableAccess::find_task(int tid) {
  if (tid <= 0) return nullptr;
  LockGuard guard(table.lock);
  for (Task* task = table.tasks[bucket_of(tid)]; task != nullptr; task = task->next_in_table_)
    if (task->tid_ == tid) return task->try_add_ref() ? RefPtr<Task>::adopt(task) : nullptr;
  return nullptr;
}

RefPtr<Process> TableAccess::find_process(int pid) {
  if (pid <= 0) return nullptr;
  LockGuard guard(table.lock);
  for (Process* process = table.processes[bucket_of(pid)]; process != nullptr;
       process = process->next_in_table_)
    if (process->pid_ == pid)
      return process->try_add_ref() ? RefPtr<Process>::adopt(process) : nullptr;
  return nullptr;
}

RefPtr<Process> TableAccess::next_process(int after) {
  LockGuard guard(table.lock);
  Process* best = nullptr;
  for (Process* process : table.processes)
    for (; process != nullptr; process = process->next_in_table_)
      if (process->pid_ > after && (best == nullptr || process->pid_ < best->pid_) &&
          process->ref_count() != 0)
        best = process;
  return best != nullptr && best->try_add_ref() ? RefPtr<Process>::adopt(best) : nullptr;
}

namespace process_table {

RefPtr<Process> find_process(int pid) { return TableAccess::find_process(pid); }
RefPtr<Task> find_task(int tid) { return TableAccess::find_task(tid); }

void for_each(void (*visit)(Process& process, void* argument), void* argument) {
  int pid = 0;
  while (RefPtr<Process> process = TableAccess::next_process(pid)) {
    pid = process->pid();
    visit(*process, argument);
  }
}

Result<int> allocate_id() {
  LockGuard family_guard(family::lock());
  LockGuard guard(table.lock);
  for (int tries = 1; tries < kIdLimit; ++tries) {
    if (++table.last_id >= kIdLimit) {
      table.last_id = kFirstAfterWrap;
      table.has_wrapped = true;
    }
    if (table.used[size_t(table.last_id)]) continue;
    // A group or session outlives the process that it is named after.
    if (table.has_wrapped && names_group_or_session(table.last_id)) continue;
    table.used[size_t(table.last_id)] = true;
    return table.last_id;
  }
  return fail(Errno::kAgain);
}

void free_id(int id) {
  LockGuard guard(table.lock);
  table.used[size_t(id)] = false;
}

}  // namespace process_table
}  // namespace aril::linux_abi
