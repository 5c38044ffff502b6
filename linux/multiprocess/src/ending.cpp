#include "kernel/log/log.hpp"
#include "linux/process/family.hpp"
#include "linux/signal/signal.hpp"
#include "operations.hpp"

/// What the end, a stop or a continuation of a process means to its relatives [wait(2), exit(3)].
namespace aril::linux_abi {
namespace {

using Life = Process::Family::Life;

/// Collected processes, until they can be released without the lock.
class Collected {
 public:
  void add(RefPtr<Process> process) {
    if (count_ < processes_.size()) {
      processes_[count_++] = std::move(process);
    } else {
      // The last reference to a zombie frees a little memory and takes only spin locks that rank
      // above this one.
      process.reset();
    }
  }

 private:
  std::array<RefPtr<Process>, 8> processes_;
  size_t count_ = 0;
};

SignalInfo child_signal(Process& child, int number, int32_t code, int32_t status) {
  constexpr int64_t kTick = 10'000'000;
  CpuTimes times = child.cpu_times();
  SignalInfo info{.signal = number, .code = code};
  info.child = {.pid = child.pid(),
                .uid = child.real_uid(),
                .status = status,
                .padding = 0,
                .user_time = times.user.ns / kTick,
                .system_time = times.system.ns / kTick};
  return info;
}

SignalAction child_action(Process& parent) {
  LockGuard guard(parent.signal_lock());
  return parent.action_locked(kSigChld);
}

bool blocks_child_signal(Process& process) {
  bool blocked = false;
  process.for_each_task([&](Task& task) { blocked |= task.blocked.contains(kSigChld); });
  return blocked;
}

/// The first process inherits orphans whether or not it knows. One that handles SIGCHLD, or blocks
/// it to fetch it, or waits for just anybody at this moment, or calls itself a reaper, is asked;
/// for another one the kernel does what a minimal init would do: the zombie goes.
bool init_collects(Process& init) {
  return child_action(init).handler > kSignalIgnore || init.is_subreaper ||
         blocks_child_signal(init) || !init.child_queue().empty();
}

/// Zombies that the first process may leave uncollected among those that it did not create.
constexpr unsigned kAdoptedZombieLimit = 256;

void trim_adopted_locked(Process& init, Collected& collected) {
  unsigned count = 0;
  auto is_adopted_zombie = [](Process& child) {
    return child.family.life == Life::kZombie && child.family.is_adopted;
  };
  family::for_each_child_locked(init, [&](Process& child) { count += is_adopted_zombie(child); });
  if (count <= kAdoptedZombieLimit) return;
  family::for_each_child_locked(init, [&](Process& child) {
    if (count <= kAdoptedZombieLimit || !is_adopted_zombie(child)) return;
    collected.add(collect_locked(child));
    --count;
  });
}

/// Tells the parent of a zombie; collects it when nobody wants to.
void report_end_locked(Process& child, Collected& collected) {
  Process* parent = child.family.parent;
  if (parent == nullptr) return;
  ExitStatus status = child.exit_status();
  int32_t code = status.signal == 0 ? kCldExited : status.core_dumped ? kCldDumped : kCldKilled;
  int number = child.family.exit_signal;
  bool is_unwanted = false;
  if (number == kSigChld) {
    SignalAction action = child_action(*parent);
    is_unwanted = action.handler == kSignalIgnore || (action.flags & kSaNocldwait) != 0;
    if (action.handler == kSignalIgnore) number = 0;
  }
  if (number != 0)
    send_family_signal(*parent, child_signal(child, number, code,
                                             status.signal != 0 ? status.signal : status.code));
  bool is_init = parent->pid() == 1;
  if (is_init && child.family.is_adopted && !init_collects(*parent)) is_unwanted = true;
  if (is_unwanted) collected.add(collect_locked(child));
  if (is_init) trim_adopted_locked(*parent, collected);
  parent->child_queue().wake_all();
}

/// Who gets the children of `process`: the nearest living ancestor that asked for it, else the
/// first process [PR_SET_CHILD_SUBREAPER(2const)].
Process& find_reaper_locked(Process& process) {
  Process* ancestor = process.family.parent;
  while (ancestor != nullptr && ancestor->pid() != 1) {
    if (ancestor->is_subreaper && ancestor->family.life == Life::kAlive && !ancestor->is_exiting())
      return *ancestor;
    ancestor = ancestor->family.parent;
  }
  // The list begins with the first process, whose end ends the machine.
  return *family::everyone_locked().front();
}

/// A group that a process's end may orphan, and that then gets SIGHUP and SIGCONT. Few of them lie
/// in one family; those beyond the limit are left stopped.
class OrphanedGroups {
 public:
  void consider_locked(int group, const Process& leaving) {
    if (count_ == groups_.size() || !family::has_stopped_member_locked(group) ||
        !family::is_orphaned_locked(group, &leaving))
      return;
    for (size_t i = 0; i < count_; ++i)
      if (groups_[i] == group) return;
    groups_[count_++] = group;
  }
  /// Without the lock.
  void signal() {
    for (size_t i = 0; i < count_; ++i)
      for (int number : {kSigHup, kSigCont})
        (void)send_group_signal(groups_[i], {.signal = number, .code = kSiKernel});
  }

 private:
  std::array<int, 32> groups_{};
  size_t count_ = 0;
};

void leave_children_locked(Process& process, Collected& collected, OrphanedGroups& orphaned) {
  Process& reaper = find_reaper_locked(process);
  family::for_each_child_locked(process, [&](Process& child) {
    family::move_locked(child, reaper);
    child.family.is_adopted = true;
    child.family.creator = 0;
    child.family.exit_signal = kSigChld;
    if (int number = child.parent_death_signal; number != 0) {
      SignalInfo info{.signal = number, .code = kSiUser};
      info.sender = {.pid = process.pid(), .uid = process.real_uid(), .value = 0};
      send_family_signal(child, info);
    }
    int group = child.process_group.load();
    bool was_tied =
        child.session.load() == process.session.load() && group != process.process_group.load();
    if (child.family.life == Life::kZombie) {
      report_end_locked(child, collected);
    } else if (was_tied) {
      orphaned.consider_locked(group, process);
    }
  });
}

}  // namespace

RefPtr<Process> collect_locked(Process& child) {
  if (Process* parent = child.family.parent) {
    ResourceUse& account = parent->family.collected_children;
    {
      LockGuard guard(child.tasks_lock());
      account.add(child.ended_tasks);
    }
    account.add(child.family.collected_children);
  }
  return family::leave_locked(child);
}

void on_process_end(Process& process) {
  // After the lock: what was collected goes, and groups are signalled.
  Collected collected;
  OrphanedGroups orphaned;
  if (process.session.load() == process.pid()) family::announce_session_end(process.pid());
  {
    LockGuard guard(family::lock());
    leave_children_locked(process, collected, orphaned);
    const Process* parent = process.family.parent;
    if (parent != nullptr && parent->session.load() == process.session.load() &&
        parent->process_group.load() != process.process_group.load())
      orphaned.consider_locked(process.process_group.load(), process);
    process.family.life = Life::kZombie;
    process.family.stop_waits = process.family.continue_waits = false;
    process.end_queue().wake_all();
    report_end_locked(process, collected);
  }
  orphaned.signal();
}

namespace {

void report_change_locked(Process& process, int32_t code, int32_t status) {
  Process* parent = process.family.parent;
  if (parent == nullptr) return;
  SignalAction action = child_action(*parent);
  if (action.handler != kSignalIgnore && (action.flags & kSaNocldstop) == 0)
    send_family_signal(*parent, child_signal(process, kSigChld, code, status));
  parent->child_queue().wake_all();
}

}  // namespace

void on_process_stop(Process& process, int signal) {
  LockGuard guard(family::lock());
  process.family.stop_waits = true;
  process.family.continue_waits = false;
  process.family.stop_signal = signal;
  report_change_locked(process, kCldStopped, signal);
}

void on_process_continue(Process& process) {
  LockGuard guard(family::lock());
  process.family.stop_waits = false;
  process.family.continue_waits = true;
  report_change_locked(process, kCldContinued, kSigCont);
}

}  // namespace aril::linux_abi
