#include <algorithm>

#include "linux/abi/syscall.hpp"
#include "linux/abi/time.hpp"
#include "linux/files/file_table.hpp"
#include "linux/process/process.hpp"

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
  LockGuard guard(process.mutex());
  if (limit.maximum > process.limits[resource].maximum && !privileged) return fail(Errno::kPerm);
  process.limits[resource] = limit;
  if (resource == Resource::kOpenFiles) process.files().set_limit(static_cast<int>(limit.current));
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

/// struct rusage.
struct Usage {
  Timeval user, system;
  int64_t peak_resident_kib = 0, shared_size = 0, data_size = 0, stack_size = 0;
  int64_t minor_faults = 0, major_faults = 0, swaps = 0, blocks_in = 0, blocks_out = 0;
  int64_t messages_sent = 0, messages_received = 0, signals = 0;
  int64_t voluntary_switches = 0, involuntary_switches = 0;
};
static_assert(sizeof(Usage) == 144);

Result<void> sys_getrusage(int who, UserPtr<Usage> out) {
  constexpr int kSelf = 0, kChildren = -1, kThread = 1;
  Usage usage;
  Process& process = current_process();
  Thread& thread = current_task().thread();
  switch (who) {
    case kSelf: {
      // Time in the kernel is not told apart: it is all the program's.
      usage.user = Timeval::from(process.cpu_time());
      {
        LockGuard guard(process.tasks_lock());
        usage.voluntary_switches = int64_t(process.ended_voluntary_switches);
        usage.involuntary_switches = int64_t(process.ended_involuntary_switches);
      }
      process.for_each_task([&](Task& task) {
        usage.voluntary_switches += int64_t(task.thread().voluntary_switches());
        usage.involuntary_switches += int64_t(task.thread().involuntary_switches());
      });
      break;
    }
    case kThread:
      usage.user = Timeval::from(thread.cpu_time());
      usage.voluntary_switches = int64_t(thread.voluntary_switches());
      usage.involuntary_switches = int64_t(thread.involuntary_switches());
      break;
    case kChildren:
      return out.write(usage);
    default:
      return fail(Errno::kInval);
  }
  usage.peak_resident_kib =
      int64_t(process.address_space().usage().peak_resident_pages * (kPageSize / kKiB));
  return out.write(usage);
}
ARIL_SYSCALL(98, getrusage, sys_getrusage, "int >ptr");

struct Times {
  int64_t user, system, child_user, child_system;
};
Result<int64_t> sys_times(UserPtr<Times> out) {
  constexpr int64_t kTick = 10'000'000;  // 100 Hz, as AT_CLKTCK says
  if (out) ARIL_TRY(out.write({current_process().cpu_time().ns / kTick, 0, 0, 0}));
  return now().ns / kTick;
}
ARIL_SYSCALL(100, times, sys_times, ">ptr");

Result<RefPtr<Task>> priority_target(int which, int who) {
  constexpr int kProcessTarget = 0, kGroupTarget = 1, kUserTarget = 2;
  if (which != kProcessTarget && which != kGroupTarget && which != kUserTarget)
    return fail(Errno::kInval);
  if (which != kProcessTarget || who == 0) return RefPtr<Task>(&current_task());
  RefPtr<Task> task = process_table::find_task(who);
  if (!task) return fail(Errno::kSrch);
  return task;
}

Result<int64_t> sys_getpriority(int which, int who) {
  // The raw call's result is 20 - nice, so that it is never negative [getpriority(2)].
  return 20 - ARIL_TRY(priority_target(which, who))->thread().nice();
}
ARIL_SYSCALL(140, getpriority, sys_getpriority, "int pid");

Result<void> sys_setpriority(int which, int who, int nice) {
  RefPtr<Task> task = ARIL_TRY(priority_target(which, who));
  nice = std::clamp(nice, -20, 19);
  if (nice < task->thread().nice() && !current_task().credentials.can(Capability::kSysNice))
    return fail(Errno::kAcces);
  task->thread().set_nice(nice);
  return {};
}
ARIL_SYSCALL(141, setpriority, sys_setpriority, "int pid int");

}  // namespace
}  // namespace aril::linux_abi
