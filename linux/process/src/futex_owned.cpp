#include "base/units.hpp"
#include "kernel/sched/mutex.hpp"
#include "kernel/vm/user_copy.hpp"
#include "linux/process/futex.hpp"
#include "linux/process/process.hpp"

/// Futexes with an owner: FUTEX_LOCK_PI and robust lists.
namespace aril::linux_abi {
namespace {

// Serialises changes of owned words that are in contention. A mutex, because the words are
// application memory, whose access may sleep.
Mutex& owner_mutex() {
  [[clang::no_destroy]] static Mutex mutex{LockRank::kFutexOwner};
  return mutex;
}

struct RobustList {
  uint64_t next;
  int64_t futex_offset;
  uint64_t pending;
};

// A robust list longer than this is damaged [linux/futex.h ROBUST_LIST_LIMIT].
constexpr unsigned kRobustListLimit = 2048;

void mark_owner_died(uint64_t address, bool is_owned, int tid) {
  if (!is_aligned(address, 4)) return;
  auto value = load_user_u32(address);
  while (value && (*value & kFutexTidMask) == uint32_t(tid)) {
    uint32_t expected = *value;
    auto exchanged =
        compare_exchange_user_u32(address, expected, (expected & kFutexWaiters) | kFutexOwnerDied);
    if (!exchanged) return;
    if (*exchanged) {
      if (is_owned || (expected & kFutexWaiters) != 0) wake_futex(address, 1);
      return;
    }
    value = expected;
  }
}

}  // namespace

Result<void> try_lock_owned_futex(uint64_t address, int tid) {
  LockGuard guard(owner_mutex());
  uint32_t value = ARIL_TRY(load_user_u32(address));
  for (;;) {
    if ((value & kFutexTidMask) == uint32_t(tid)) return fail(Errno::kDeadLk);
    if ((value & kFutexTidMask) != 0) return fail(Errno::kAgain);
    uint32_t flags = value & (kFutexWaiters | kFutexOwnerDied);
    if (ARIL_TRY(compare_exchange_user_u32(address, value, uint32_t(tid) | flags))) return {};
  }
}

Result<void> lock_owned_futex(uint64_t address, FutexScope scope, int tid, Instant deadline) {
  for (;;) {
    Result<void> locked = try_lock_owned_futex(address, tid);
    if (locked || locked.error() != Errno::kAgain) return locked;
    uint32_t value = ARIL_TRY(load_user_u32(address));
    if ((value & kFutexTidMask) == 0) continue;
    if (!process_table::find_task(int(value & kFutexTidMask))) return fail(Errno::kSrch);
    if ((value & kFutexWaiters) == 0) {
      // From here on the owner's unlock comes to the kernel.
      if (!ARIL_TRY(compare_exchange_user_u32(address, value, value | kFutexWaiters))) continue;
      value |= kFutexWaiters;
    }
    Result<void> waited = wait_futex(address, scope, value, kFutexMatchAny, deadline);
    if (!waited && waited.error() != Errno::kAgain) return waited;
    // The word is free now but other waiters may be left: keep the unlock coming to the kernel.
    LockGuard guard(owner_mutex());
    value = ARIL_TRY(load_user_u32(address));
    while ((value & kFutexTidMask) == 0) {
      uint32_t wanted = uint32_t(tid) | kFutexWaiters | (value & kFutexOwnerDied);
      if (ARIL_TRY(compare_exchange_user_u32(address, value, wanted))) return {};
    }
  }
}

Result<void> unlock_owned_futex(uint64_t address, FutexScope scope, int tid) {
  FutexKey key = ARIL_TRY(futex_key(address, scope));
  LockGuard guard(owner_mutex());
  uint32_t value = ARIL_TRY(load_user_u32(address));
  for (;;) {
    if ((value & kFutexTidMask) != uint32_t(tid)) return fail(Errno::kPerm);
    if (ARIL_TRY(compare_exchange_user_u32(address, value, 0))) break;
  }
  wake_futex_key(key, 1);
  return {};
}

void exit_robust_list(uint64_t head, uint64_t size, int tid) {
  if (head == 0 || size != sizeof(RobustList)) return;
  auto list = UserPtr<RobustList>(head).read();
  if (!list) return;
  // Bit 0 of a link marks an owned (PI) futex.
  uint64_t entry = list->next;
  for (unsigned count = 0; (entry & ~uint64_t{1}) != head && count < kRobustListLimit; ++count) {
    uint64_t address = entry & ~uint64_t{1};
    auto next = UserPtr<uint64_t>(address).read();
    if (entry != list->pending)
      mark_owner_died(address + uint64_t(list->futex_offset), (entry & 1) != 0, tid);
    if (!next) return;
    entry = *next;
  }
  if ((list->pending & ~uint64_t{1}) != 0)
    mark_owner_died((list->pending & ~uint64_t{1}) + uint64_t(list->futex_offset),
                    (list->pending & 1) != 0, tid);
}

}  // namespace aril::linux_abi
