#pragma once
#include "base/intrusive_list.hpp"
#include "kernel/sync/spin_lock.hpp"
#include "linux/process/process.hpp"

namespace aril::linux_abi {

/// Gives the functions of `family` the links inside a Process.
struct FamilyAccess {
  using Children = IntrusiveList<Process, &Process::sibling_node_>;
  using Everyone = IntrusiveList<Process, &Process::family_node_>;
  static Children& children(Process& process) { return process.children_; }
  static void set_parent(Process& process, Process* parent);
};

/// The tree of processes, and their groups and sessions. A process belongs to it from join() until
/// its parent has collected it; the tree holds a reference meanwhile.
///
/// lock() is a spin lock outside those of tasks and signals: signals may be sent under it
/// (send_family_signal), nothing may sleep.
namespace family {

SpinLock& lock();

/// All that have not been collected, zombies among them, in order of creation.
FamilyAccess::Everyone& everyone_locked();

/// Makes `process` a child of `parent` (null: the first process) and adds a reference.
void join_locked(Process& process, Process* parent);
/// Gives a child to another parent.
void move_locked(Process& process, Process& parent);
/// Collected: leaves its parent, the tree and the table of processes. The caller takes over the
/// tree's reference and releases it without the lock.
[[nodiscard]] RefPtr<Process> leave_locked(Process& process);

template <typename Visit>
void for_each_locked(Visit visit) {
  for (Process& process : everyone_locked()) visit(process);
}
template <typename Visit>
void for_each_child_locked(Process& parent, Visit visit) {
  // The visitor may take the child out.
  auto& children = FamilyAccess::children(parent);
  for (auto next = children.begin(); next != children.end();) {
    Process& child = *next;
    ++next;
    visit(child);
  }
}

/// A process of this group, not collected, in this session (0: any).
bool has_group_locked(int group, int session);
/// No member has a parent outside the group and inside its session, who could continue it
/// [setpgid(2)]; `except` does not count. An empty group is orphaned.
bool is_orphaned_locked(int group, const Process* except);
bool has_stopped_member_locked(int group);

/// The same, taking the lock.
bool is_orphaned_group(int group);

/// Told when the leader of a session has ended: its terminal hangs up on the foreground group.
/// linux/tty sets it, linux/multiprocess calls it, in thread context.
using SessionEndHandler = void (*)(int session);
void set_session_end_handler(SessionEndHandler handler);
void announce_session_end(int session);

}  // namespace family
}  // namespace aril::linux_abi
