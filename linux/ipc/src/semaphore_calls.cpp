#include <array>

#include "kernel/sched/timer.hpp"
#include "limits.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/abi/time.hpp"
#include "semaphore_set.hpp"

/// semget, semop, semtimedop, semctl.
namespace aril::linux_abi::ipc {
namespace {

constexpr int16_t kUndoFlag = 0x1000;  // SEM_UNDO
// [linux/sem.h]
constexpr int kGetPid = 11, kGetValue = 12, kGetAll = 13, kGetIncreaseWaiters = 14,
              kGetZeroWaiters = 15, kSetValue = 16, kSetAll = 17, kStatusByIndex = 18, kUsage = 19,
              kStatusByIndexAny = 20;

/// struct semid64_ds of x86.
struct LinuxSet {
  LinuxPermissions permissions;
  int64_t operated_at;
  uint64_t unused1;
  int64_t changed_at;
  uint64_t unused2;
  uint64_t count, unused3, unused4;
};
static_assert(sizeof(LinuxSet) == 104);

/// struct seminfo.
struct LinuxInfo {
  int32_t map, sets, semaphores, undos, per_set, operations, undos_per_process, undo_size, maximum,
      undo_maximum;
};

Result<int> sys_semget(int key, int count, int flags) {
  uint64_t per_set = limits().semaphores_per_set.load();
  if (count < 0 || static_cast<uint64_t>(count) > per_set) return fail(Errno::kInval);
  auto make = [&]() -> Result<RefPtr<SemaphoreSet>> {
    if (count == 0) return fail(Errno::kInval);
    if (semaphores_in_use() + static_cast<uint64_t>(count) > limits().all_semaphores.load())
      return fail(Errno::kNoSpc);
    return SemaphoreSet::create(static_cast<size_t>(count));
  };
  auto check = [&](const SemaphoreSet& set) -> Result<void> {
    if (static_cast<size_t>(count) > set.count()) return fail(Errno::kInval);
    return {};
  };
  return semaphore_sets().get(key, flags, limits().sets.load(), make, check);
}
ARIL_SYSCALL(64, semget, sys_semget, "int int oflags");

/// The caller's list of what to take back, with room for this set's adjustments.
Result<UndoList*> undo_list(const RefPtr<SemaphoreSet>& set) {
  Process& process = current_process();
  LockGuard hold(process.mutex());
  if (!process.semaphore_undo) {
    process.semaphore_undo.reset(new (std::nothrow) UndoList(process.pid()));
    if (!process.semaphore_undo) return fail(Errno::kNoMem);
  }
  // This component alone makes it.
  auto* list = static_cast<UndoList*>(process.semaphore_undo.get());
  ARIL_TRY(list->add(set));
  return list;
}

Result<void> operate(int id, uint64_t address, uint64_t count, Instant deadline) {
  constexpr size_t kFew = 16;
  std::array<SemaphoreOperation, kFew> few;
  std::unique_ptr<SemaphoreOperation[]> many;
  std::span<SemaphoreOperation> operations(few.data(), std::min(count, kFew));
  if (count > kFew) {
    many.reset(new (std::nothrow) SemaphoreOperation[count]);
    if (!many) return fail(Errno::kNoMem);
    operations = {many.get(), count};
  }
  ARIL_TRY(UserPtr<SemaphoreOperation>(address).read_array(operations));
  RefPtr<SemaphoreSet> set = ARIL_TRY(semaphore_sets().find(id));
  bool undoes = false;
  for (const SemaphoreOperation& operation : operations)
    undoes |= (operation.flags & kUndoFlag) != 0;
  UndoList* undo = undoes ? ARIL_TRY(undo_list(set)) : nullptr;
  return set->operate(operations, undo, deadline);
}

Result<void> sys_semtimedop(int id, uint64_t operations, uint32_t count,
                            UserPtr<Timespec> timeout) {
  if (count < 1 || id < 0) return fail(Errno::kInval);
  if (count > limits().operations.load()) return fail(Errno::k2Big);
  Instant deadline = Instant::never();
  if (timeout) deadline = now() + ARIL_TRY(read_timeout(timeout));
  return operate(id, operations, count, deadline);
}
ARIL_SYSCALL(220, semtimedop, sys_semtimedop, "int buf uint timespec");

Result<void> sys_semop(int id, uint64_t operations, uint32_t count) {
  return sys_semtimedop(id, operations, count, UserPtr<Timespec>());
}
ARIL_SYSCALL(65, semop, sys_semop, "int buf uint");

Result<void> write_status(uint64_t buffer, const SemaphoreSet& set, bool check) {
  LinuxSet status{};
  {
    LockGuard hold(set.ipc.mutex);
    if (check) ARIL_TRY(set.ipc.permissions.check(kRead));
    if (set.ipc.removed) return fail(Errno::kIdRm);
    status.permissions = set.ipc.permissions.to_linux(set.ipc.id);
    status.operated_at = set.operated_at;
    status.changed_at = set.changed_at;
    status.count = set.count();
  }
  return write_user(buffer, status);
}

Result<int> write_info(uint64_t buffer, int command) {
  // As Linux fills in what it never used.
  constexpr int kUndosPerProcess = 500, kUndoSize = 20;
  auto number = [](uint64_t value) {
    return static_cast<int32_t>(std::min<uint64_t>(value, INT32_MAX));
  };
  LinuxInfo info{};
  info.map = info.semaphores = info.undos = number(limits().all_semaphores.load());
  info.sets = number(limits().sets.load());
  info.per_set = number(limits().semaphores_per_set.load());
  info.operations = number(limits().operations.load());
  info.undos_per_process = kUndosPerProcess;
  info.undo_size = kUndoSize;
  info.maximum = info.undo_maximum = kSemaphoreMaximum;
  if (command == kUsage) {
    info.undo_size = number(semaphore_sets().count());
    info.undo_maximum = number(semaphores_in_use());
  }
  ARIL_TRY(write_user(buffer, info));
  return semaphore_sets().highest_index();
}

Result<void> set_status(SemaphoreSet& set, uint64_t buffer) {
  LinuxSet status = ARIL_TRY(UserPtr<LinuxSet>(buffer).read());
  LockGuard hold(set.ipc.mutex);
  if (set.ipc.removed) return fail(Errno::kIdRm);
  ARIL_TRY(set.ipc.permissions.check_owner());
  set.ipc.permissions.change(status.permissions);
  set.changed_at = seconds_now();
  return {};
}

Result<void> copy_all(SemaphoreSet& set, int command, uint64_t array) {
  std::unique_ptr<uint16_t[]> values(new (std::nothrow) uint16_t[set.count()]);
  if (!values) return fail(Errno::kNoMem);
  std::span<uint16_t> all(values.get(), set.count());
  UserPtr<uint16_t> user(array);
  bool sets = command == kSetAll;
  if (sets) {
    ARIL_TRY(user.read_array(all));
    for (uint16_t value : all) {
      if (value > kSemaphoreMaximum) return fail(Errno::kRange);
    }
  }
  {
    LockGuard hold(set.ipc.mutex);
    if (set.ipc.removed) return fail(Errno::kIdRm);
    ARIL_TRY(set.ipc.permissions.check(sets ? kWrite : kRead));
    for (size_t number = 0; number < all.size(); ++number) {
      if (sets) {
        set.set_locked(number, static_cast<int16_t>(all[number]));
      } else {
        all[number] = static_cast<uint16_t>(set.value_locked(number).value);
      }
    }
    if (sets) {
      set.changed_at = seconds_now();
      set.resume_waiters_locked();
    }
  }
  if (sets) return {};
  return user.write_array(std::span<const uint16_t>(all));
}

/// The commands on one semaphore.
Result<int> one_semaphore(SemaphoreSet& set, int number, int command, int value) {
  if (command == kSetValue && (value < 0 || value > kSemaphoreMaximum)) return fail(Errno::kRange);
  LockGuard hold(set.ipc.mutex);
  if (number < 0 || static_cast<size_t>(number) >= set.count()) return fail(Errno::kInval);
  auto index = static_cast<size_t>(number);
  ARIL_TRY(set.ipc.permissions.check(command == kSetValue ? kWrite : kRead));
  if (set.ipc.removed) return fail(Errno::kIdRm);
  switch (command) {
    case kGetPid:
      return set.value_locked(index).last_pid;
    case kGetValue:
      return set.value_locked(index).value;
    case kGetIncreaseWaiters:
      return set.waiter_count_locked(index, SemaphoreSet::Wanted::kIncrease);
    case kGetZeroWaiters:
      return set.waiter_count_locked(index, SemaphoreSet::Wanted::kZero);
    default:
      set.set_locked(index, static_cast<int16_t>(value));
      set.changed_at = seconds_now();
      set.resume_waiters_locked();
      return 0;
  }
}

Result<int> sys_semctl(int id, int number, int command, uint64_t argument) {
  if (id < 0) return fail(Errno::kInval);
  if (command == kInfo || command == kUsage) return write_info(argument, command);
  if (command == kStatusByIndex || command == kStatusByIndexAny) {
    RefPtr<SemaphoreSet> set = ARIL_TRY(semaphore_sets().find_index(id));
    ARIL_TRY(write_status(argument, *set, command == kStatusByIndex));
    return set->ipc.id;
  }
  bool known =
      (command >= kRemove && command <= kStatus) || (command >= kGetPid && command <= kSetAll);
  if (!known) return fail(Errno::kInval);
  RefPtr<SemaphoreSet> set = ARIL_TRY(semaphore_sets().find(id));
  switch (command) {
    case kStatus:
      ARIL_TRY(write_status(argument, *set, true));
      return 0;
    case kSet:
      ARIL_TRY(set_status(*set, argument));
      return 0;
    case kRemove:
      ARIL_TRY(set->remove());
      return 0;
    case kGetAll:
    case kSetAll:
      ARIL_TRY(copy_all(*set, command, argument));
      return 0;
    default:
      return one_semaphore(*set, number, command, static_cast<int>(argument));
  }
}
ARIL_SYSCALL(66, semctl, sys_semctl, "int int op hex");

}  // namespace
}  // namespace aril::linux_abi::ipc
