#include <algorithm>

#include "arch/cpu.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/abi/time.hpp"
#include "linux/process/process.hpp"

/// sched_*: CPUs are chosen for real; real-time policies are accepted and run as normal threads.
namespace aril::linux_abi {
namespace {

constexpr int kOther = 0, kFifo = 1, kRoundRobin = 2, kBatch = 3, kIdle = 5;
constexpr int kResetOnFork = 0x40000000;

Result<RefPtr<Task>> task_of(int tid) {
  if (tid < 0) return fail(Errno::kInval);
  if (tid == 0) return RefPtr<Task>(&current_task());
  RefPtr<Task> task = process_table::find_task(tid);
  if (!task) return fail(Errno::kSrch);
  return task;
}

CpuMask present_cpus() {
  unsigned count = arch::cpu_count();
  return count >= 64 ? ~CpuMask{0} : (CpuMask{1} << count) - 1;
}

Result<void> sys_sched_yield() {
  Thread::yield();
  return {};
}
ARIL_SYSCALL(24, sched_yield, sys_sched_yield, "");

Result<void> sys_sched_setaffinity(int tid, uint64_t size, uint64_t address) {
  RefPtr<Task> task = ARIL_TRY(task_of(tid));
  CpuMask mask = 0;
  auto bytes = std::as_writable_bytes(std::span(&mask, 1));
  ARIL_TRY(copy_from_user(bytes.first(std::min<uint64_t>(size, sizeof mask)), address));
  return task->thread().set_affinity(mask);
}
ARIL_SYSCALL(203, sched_setaffinity, sys_sched_setaffinity, "pid size ptr");

Result<int64_t> sys_sched_getaffinity(int tid, uint64_t size, UserPtr<CpuMask> out) {
  if (size < sizeof(CpuMask) || size % sizeof(uint64_t) != 0) return fail(Errno::kInval);
  RefPtr<Task> task = ARIL_TRY(task_of(tid));
  ARIL_TRY(out.write(task->thread().affinity() & present_cpus()));
  // The bytes written: the C library clears the rest.
  return sizeof(CpuMask);
}
ARIL_SYSCALL(204, sched_getaffinity, sys_sched_getaffinity, "pid size >ptr");

Result<void> sys_getcpu(UserPtr<uint32_t> cpu, UserPtr<uint32_t> node, uint64_t) {
  if (cpu) ARIL_TRY(cpu.write(arch::cpu_index()));
  if (node) return node.write(0);
  return {};
}
ARIL_SYSCALL(309, getcpu, sys_getcpu, ">ptr >ptr ptr");

bool is_policy(int policy) {
  policy &= ~kResetOnFork;
  return policy == kOther || policy == kFifo || policy == kRoundRobin || policy == kBatch ||
         policy == kIdle;
}

bool is_real_time(int policy) { return policy == kFifo || policy == kRoundRobin; }

Result<void> check_priority(int policy, int priority) {
  int lowest = is_real_time(policy) ? 1 : 0, highest = is_real_time(policy) ? 99 : 0;
  if (priority < lowest || priority > highest) return fail(Errno::kInval);
  return {};
}

Result<void> sys_sched_setscheduler(int tid, int policy, UserPtr<int32_t> parameter) {
  RefPtr<Task> task = ARIL_TRY(task_of(tid));
  if (!is_policy(policy)) return fail(Errno::kInval);
  int plain = policy & ~kResetOnFork;
  int priority = ARIL_TRY(parameter.read());
  ARIL_TRY(check_priority(plain, priority));
  task->scheduling_policy = plain;
  task->scheduling_priority = priority;
  return {};
}
ARIL_SYSCALL(144, sched_setscheduler, sys_sched_setscheduler, "pid int ptr");

Result<int64_t> sys_sched_getscheduler(int tid) {
  return ARIL_TRY(task_of(tid))->scheduling_policy;
}
ARIL_SYSCALL(145, sched_getscheduler, sys_sched_getscheduler, "pid");

Result<void> sys_sched_setparam(int tid, UserPtr<int32_t> parameter) {
  RefPtr<Task> task = ARIL_TRY(task_of(tid));
  int priority = ARIL_TRY(parameter.read());
  ARIL_TRY(check_priority(task->scheduling_policy, priority));
  task->scheduling_priority = priority;
  return {};
}
ARIL_SYSCALL(142, sched_setparam, sys_sched_setparam, "pid ptr");

Result<void> sys_sched_getparam(int tid, UserPtr<int32_t> parameter) {
  return parameter.write(ARIL_TRY(task_of(tid))->scheduling_priority);
}
ARIL_SYSCALL(143, sched_getparam, sys_sched_getparam, "pid >ptr");

Result<int64_t> sys_sched_get_priority_max(int policy) {
  if (!is_policy(policy)) return fail(Errno::kInval);
  return is_real_time(policy) ? 99 : 0;
}
ARIL_SYSCALL(146, sched_get_priority_max, sys_sched_get_priority_max, "int");
Result<int64_t> sys_sched_get_priority_min(int policy) {
  if (!is_policy(policy)) return fail(Errno::kInval);
  return is_real_time(policy) ? 1 : 0;
}
ARIL_SYSCALL(147, sched_get_priority_min, sys_sched_get_priority_min, "int");

Result<void> sys_sched_rr_get_interval(int tid, UserPtr<Timespec> out) {
  ARIL_TRY(task_of(tid));
  return out.write(Timespec{0, 4'000'000});
}
ARIL_SYSCALL(148, sched_rr_get_interval, sys_sched_rr_get_interval, "pid >ptr");

}  // namespace
}  // namespace aril::linux_abi
