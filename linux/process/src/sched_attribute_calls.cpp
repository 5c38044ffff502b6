#include <algorithm>

#include "linux/abi/syscall.hpp"
#include "linux/process/process.hpp"

/// sched_setattr, sched_getattr, and the priorities of input and output, which are kept but make
/// no difference.
namespace aril::linux_abi {
namespace {

constexpr int kOther = 0, kFifo = 1, kRoundRobin = 2, kBatch = 3, kIdle = 5;

/// struct sched_attr, version 0 and the clamps of version 1.
struct SchedulingAttributes {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
  uint32_t clamp_minimum, clamp_maximum;
};
constexpr uint32_t kFirstSize = 48;
static_assert(sizeof(SchedulingAttributes) == 56);

Result<RefPtr<Task>> task_of(int tid) {
  if (tid < 0) return fail(Errno::kInval);
  if (tid == 0) return RefPtr<Task>(&current_task());
  RefPtr<Task> task = process_table::find_task(tid);
  if (!task) return fail(Errno::kSrch);
  return task;
}

bool is_real_time(uint32_t policy) { return policy == kFifo || policy == kRoundRobin; }

Result<SchedulingAttributes> read_attributes(uint64_t address) {
  uint32_t size = ARIL_TRY(UserPtr<uint32_t>(address).read());
  if (size == 0) size = kFirstSize;
  if (size < kFirstSize || size > 4096) {
    (void)UserPtr<uint32_t>(address).write(sizeof(SchedulingAttributes));
    return fail(Errno::k2Big);
  }
  SchedulingAttributes attributes{};
  auto bytes = std::as_writable_bytes(std::span(&attributes, 1));
  ARIL_TRY(copy_from_user(bytes.first(std::min<size_t>(size, bytes.size())), address));
  for (uint64_t at = bytes.size(); at < size; ++at)
    if (ARIL_TRY(UserPtr<uint8_t>(address + at).read()) != 0) return fail(Errno::k2Big);
  return attributes;
}

Result<void> sys_sched_setattr(int tid, uint64_t address, uint32_t flags) {
  constexpr uint64_t kKnownFlags = 0x7f, kKeepPolicy = 8, kKeepParameters = 16;
  if (address == 0 || flags != 0) return fail(Errno::kInval);
  SchedulingAttributes attributes = ARIL_TRY(read_attributes(address));
  RefPtr<Task> task = ARIL_TRY(task_of(tid));
  if ((attributes.flags & ~kKnownFlags) != 0) return fail(Errno::kInval);
  uint32_t policy = attributes.policy;
  if ((attributes.flags & kKeepPolicy) != 0)
    policy = static_cast<uint32_t>(task->scheduling_policy);
  // Deadline scheduling is not offered.
  if (policy > kIdle || policy == 4) return fail(Errno::kInval);
  bool keeps = (attributes.flags & kKeepParameters) != 0;
  if (!keeps && (is_real_time(policy) ? attributes.priority < 1 || attributes.priority > 99
                                      : attributes.priority != 0))
    return fail(Errno::kInval);
  bool privileged = current_task().credentials.can(Capability::kSysNice);
  int nice = std::clamp(attributes.nice, -20, 19);
  if (!privileged && (is_real_time(policy) || (!keeps && nice < task->thread().nice())))
    return fail(Errno::kPerm);
  task->scheduling_policy = static_cast<int>(policy);
  if (keeps) return {};
  task->scheduling_priority = static_cast<int>(attributes.priority);
  if (policy == kOther || policy == kBatch) task->thread().set_nice(nice);
  return {};
}
ARIL_SYSCALL(314, sched_setattr, sys_sched_setattr, "pid ptr hex");

Result<void> sys_sched_getattr(int tid, uint64_t address, uint32_t size, uint32_t flags) {
  if (address == 0 || size < kFirstSize || size > 4096 || flags != 0) return fail(Errno::kInval);
  RefPtr<Task> task = ARIL_TRY(task_of(tid));
  size = std::min<uint32_t>(size, sizeof(SchedulingAttributes));
  auto policy = static_cast<uint32_t>(task->scheduling_policy);
  SchedulingAttributes attributes{
      .size = size,
      .policy = policy,
      .flags = 0,
      .nice = is_real_time(policy) ? 0 : task->thread().nice(),
      .priority = static_cast<uint32_t>(task->scheduling_priority),
      .runtime = 0,
      .deadline = 0,
      .period = 0,
      .clamp_minimum = 0,
      .clamp_maximum = 1024,
  };
  return copy_to_user(address, std::as_bytes(std::span(&attributes, 1)).first(size));
}
ARIL_SYSCALL(315, sched_getattr, sys_sched_getattr, "pid >ptr uint hex");

// [ioprio_set(2)] Kept by task; there is one queue.
Result<RefPtr<Task>> priority_target(int which, int who) {
  constexpr int kProcess = 1, kGroup = 2, kUser = 3;
  if (which < kProcess || which > kUser) return fail(Errno::kInval);
  if (which == kProcess) return task_of(who < 0 ? INT32_MAX : who);
  if (which == kGroup && who != 0 && who != current_process().process_group.load())
    return fail(Errno::kSrch);
  return RefPtr<Task>(&current_task());
}

Result<void> sys_ioprio_set(int which, int who, int priority) {
  constexpr int kClassShift = 13, kRealTime = 1, kBestEffort = 2, kIdleClass = 3;
  int io_class = priority >> kClassShift, level = priority & ((1 << kClassShift) - 1);
  switch (io_class) {
    case kRealTime:
      if (!current_task().credentials.can(Capability::kSysAdmin)) return fail(Errno::kPerm);
      [[fallthrough]];
    case kBestEffort:
      if (level >= 8) return fail(Errno::kInval);
      break;
    case kIdleClass:
      break;
    case 0:
      if (level != 0) return fail(Errno::kInval);
      break;
    default:
      return fail(Errno::kInval);
  }
  ARIL_TRY(priority_target(which, who))->io_priority = priority;
  return {};
}
ARIL_SYSCALL(251, ioprio_set, sys_ioprio_set, "int int int");

Result<int64_t> sys_ioprio_get(int which, int who) {
  return ARIL_TRY(priority_target(which, who))->io_priority;
}
ARIL_SYSCALL(252, ioprio_get, sys_ioprio_get, "int int");

}  // namespace
}  // namespace aril::linux_abi
