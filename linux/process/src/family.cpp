#include "linux/process/family.hpp"

#include "process_table_internal.hpp"

namespace aril::linux_abi {

void FamilyAccess::set_parent(Process& process, Process* parent) {
  process.family.parent = parent;
  process.parent_pid_.store(parent != nullptr ? parent->pid() : 0, std::memory_order_relaxed);
}

namespace family {
namespace {

struct Tree {
  SpinLock lock{LockRank::kFamily};
  FamilyAccess::Everyone everyone;
};

[[clang::no_destroy]] constinit Tree tree;
constinit std::atomic<SessionEndHandler> session_end_handler{nullptr};

}  // namespace

SpinLock& lock() { return tree.lock; }
FamilyAccess::Everyone& everyone_locked() { return tree.everyone; }

void join_locked(Process& process, Process* parent) {
  process.add_ref();
  tree.everyone.push_back(process);
  FamilyAccess::set_parent(process, parent);
  if (parent != nullptr) FamilyAccess::children(*parent).push_back(process);
}

void move_locked(Process& process, Process& parent) {
  if (process.family.parent != nullptr)
    FamilyAccess::children(*process.family.parent).remove(process);
  FamilyAccess::set_parent(process, &parent);
  FamilyAccess::children(parent).push_back(process);
}

RefPtr<Process> leave_locked(Process& process) {
  process.family.life = Process::Family::Life::kCollected;
  if (process.family.parent != nullptr)
    FamilyAccess::children(*process.family.parent).remove(process);
  FamilyAccess::set_parent(process, nullptr);
  tree.everyone.remove(process);
  TableAccess::remove(process);
  return RefPtr<Process>::adopt(&process);
}

bool has_group_locked(int group, int session) {
  for (Process& process : everyone_locked()) {
    if (process.process_group.load() == group &&
        (session == 0 || process.session.load() == session))
      return true;
  }
  return false;
}

bool is_orphaned_locked(int group, const Process* except) {
  for (Process& process : everyone_locked()) {
    if (process.process_group.load() != group || &process == except ||
        process.family.life != Process::Family::Life::kAlive)
      continue;
    const Process* parent = process.family.parent;
    if (parent != nullptr && parent->process_group.load() != group &&
        parent->session.load() == process.session.load())
      return false;
  }
  return true;
}

bool has_stopped_member_locked(int group) {
  for (Process& process : everyone_locked()) {
    if (process.process_group.load() == group && process.is_stopped()) return true;
  }
  return false;
}

void set_session_end_handler(SessionEndHandler handler) { session_end_handler = handler; }
void announce_session_end(int session) {
  SessionEndHandler handler = session_end_handler.load();
  if (handler != nullptr) handler(session);
}

bool is_orphaned_group(int group) {
  LockGuard guard(lock());
  return is_orphaned_locked(group, nullptr);
}

}  // namespace family
}  // namespace aril::linux_abi
