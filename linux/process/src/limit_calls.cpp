#include <algorithm>
#include <climits>

#include "linux/abi/syscall.hpp"
#include "linux/abi/time.hpp"
#include "linux/files/file_table.hpp"
#include "linux/process/family.hpp"
#include "linux/process/resource_usage.hpp"

/// Resource limits and usage, priorities.
namespace aril::linux_abi {
namespace {

Result<Resource> resource_from(uint32_t number) {
  if (number >= static_cast<uint32_t>(Resource::kCount)) return fail(Errno::kInval);
  return static_cast<Resource>(number);
}

Result<void> set_limit(Process& process, Resource resource, const ResourceLimit& limit) {
  if (limit.current > limit.maximum) return fail(Errno::kInval);
  if (resource == Resource::kOpenFiles && limit.maximum > FileTable::kHardLimit)
    return fail(Errno::kPerm);
  bool privileged = current_task().credentials.can(Capability::kSysResource);
  {
    LockGuard guard(process.mutex());
    if (limit.maximum > process.limits[resource].maximum && !privileged) return fail(Errno::kPerm);
    process.limits[resource] = limit;
    if (resource == Resource::kPendingSignals)
      process.queued_signal_limit.store(limit.current, std::memory_order_relaxed);
    if (resource == Resource::kOpenFiles)
      process.files().set_limit(static_cast<int>(limit.current));
  }
  if (resource == Resource::kCpu && enforce_cpu_limit != nullptr)
    return enforce_cpu_limit(process, limit);
  if (resource == Resource::kStack)
    if (RefPtr<AddressSpace> space = process.find_address_space())
      space->set_stack_limit(limit.current);
  return {};
}

ResourceLimit get_limit(Process& process, Resource resource) {
  LockGuard guard(process.mutex());
  return process.limits[resource];
}

Result<void> sys_prlimit64(int pid, uint32_t number, UserPtr<ResourceLimit> wanted,
                           UserPtr<ResourceLimit> previous) {
  Resource resource = ARIL_TRY(resource_from(number));
  RefPtr<Process> process =
      pid == 0 ? RefPtr<Process>(&current_process()) : process_table::find_process(pid);
  if (!process) return fail(Errno::kSrch);
  ResourceLimit old = get_limit(*process, resource);
  if (wanted) ARIL_TRY(set_limit(*process, resource, ARIL_TRY(wanted.read())));
  if (previous) return previous.write(old);
  return {};
}
ARIL_SYSCALL(302, prlimit64, sys_prlimit64, "pid uint ptr >ptr");

Result<void> sys_getrlimit(uint32_t number, UserPtr<ResourceLimit> out) {
  return out.write(get_limit(current_process(), ARIL_TRY(resource_from(number))));
}
ARIL_SYSCALL(97, getrlimit, sys_getrlimit, "uint >ptr");
Result<void> sys_setrlimit(uint32_t number, UserPtr<ResourceLimit> in) {
  Resource resource = ARIL_TRY(resource_from(number));
  return set_limit(current_process(), resource, ARIL_TRY(in.read()));
}
ARIL_SYSCALL(160, setrlimit, sys_setrlimit, "uint ptr");

ResourceUse use_of_children(Process& process) {
  LockGuard guard(family::lock());
  return process.family.collected_children;
}

Result<void> sys_getrusage(int who, UserPtr<ResourceUsage> out) {
  constexpr int kSelf = 0, kChildren = -1, kThread = 1;
  Process& process = current_process();
  switch (who) {
    case kSelf:
      return out.write(ResourceUsage::from(process.resource_use()));
    case kThread: {
      const Thread& thread = current_task().thread();
      return out.write(ResourceUsage::from(
          {.cpu_times = current_task().cpu_times(),
           .voluntary_switches = thread.voluntary_switches(),
           .involuntary_switches = thread.involuntary_switches(),
           .peak_resident_pages = process.address_space().usage().peak_resident_pages}));
    }
    case kChildren:
      return out.write(ResourceUsage::from(use_of_children(process)));
    default:
      return fail(Errno::kInval);
  }
}
ARIL_SYSCALL(98, getrusage, sys_getrusage, "int >ptr");

struct Times {
  int64_t user, system, child_user, child_system;
};
Result<int64_t> sys_times(UserPtr<Times> out) {
  constexpr int64_t kTick = 10'000'000;  // 100 Hz, as AT_CLKTCK says
  Process& process = current_process();
  CpuTimes own = process.cpu_times(), children = use_of_children(process).cpu_times;
  if (out)
    ARIL_TRY(out.write({.user = own.user.ns / kTick,
                        .system = own.system.ns / kTick,
                        .child_user = children.user.ns / kTick,
                        .child_system = children.system.ns / kTick}));
  return now().ns / kTick;
}
ARIL_SYSCALL(100, times, sys_times, ">ptr");

// [getpriority(2)]
constexpr int kProcessTarget = 0, kGroupTarget = 1, kUserTarget = 2;

/// Visits the tasks that `which` and `who` mean: one, or all of a group's or a user's processes.
/// kSrch when there is none. The visitor runs under spin locks.
template <typename Visit>
Result<void> for_each_target(int which, int who, Visit visit) {
  Task& self = current_task();
  if (which == kProcessTarget) {
    RefPtr<Task> task = who == 0 ? RefPtr<Task>(&self) : process_table::find_task(who);
    if (!task) return fail(Errno::kSrch);
    visit(*task);
    return {};
  }
  if (which != kGroupTarget && which != kUserTarget) return fail(Errno::kInval);
  if (who == 0)
    who = which == kGroupTarget ? self.process().process_group.load()
                                : static_cast<int>(self.credentials.uid);
  bool found = false;
  LockGuard guard(family::lock());
  family::for_each_locked([&](Process& process) {
    int own =
        which == kGroupTarget ? process.process_group.load() : static_cast<int>(process.real_uid());
    if (own != who) return;
    process.for_each_task([&](Task& task) {
      found = true;
      visit(task);
    });
  });
  if (!found) return fail(Errno::kSrch);
  return {};
}

Result<int64_t> sys_getpriority(int which, int who) {
  int lowest = INT_MAX;
  ARIL_TRY(for_each_target(which, who,
                           [&](Task& task) { lowest = std::min(lowest, task.thread().nice()); }));
  // The raw call's result is 20 - nice, so that it is never negative [getpriority(2)].
  return 20 - lowest;
}
ARIL_SYSCALL(140, getpriority, sys_getpriority, "int pid");

Result<void> sys_setpriority(int which, int who, int nice) {
  nice = std::clamp(nice, -20, 19);
  const Credentials& credentials = current_task().credentials;
  bool is_privileged = credentials.can(Capability::kSysNice);
  Errno error{};
  ARIL_TRY(for_each_target(which, who, [&](Task& task) {
    uint32_t owner = task.process().real_uid();
    if (!is_privileged && owner != credentials.uid && owner != credentials.euid) {
      error = Errno::kPerm;
    } else if (!is_privileged && nice < task.thread().nice()) {
      error = Errno::kAcces;
    } else {
      task.thread().set_nice(nice);
    }
  }));
  if (error != Errno{}) return fail(error);
  return {};
}
ARIL_SYSCALL(141, setpriority, sys_setpriority, "int pid int");

}  // namespace
}  // namespace aril::linux_abi
