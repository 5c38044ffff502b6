#include <array>

#include "base/units.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/abi/time.hpp"
#include "linux/process/futex.hpp"
#include "linux/process/process.hpp"

namespace aril::linux_abi {
namespace {

// [linux/futex.h]
enum FutexOperation : uint32_t {
  kWait = 0,
  kWake = 1,
  kRequeue = 3,
  kCompareRequeue = 4,
  kWakeOperation = 5,
  kLockPi = 6,
  kUnlockPi = 7,
  kTryLockPi = 8,
  kWaitBitset = 9,
  kWakeBitset = 10,
  kLockPi2 = 13,
};
constexpr uint32_t kPrivateFlag = 128, kClockRealtimeFlag = 256;

struct FutexCall {
  uint64_t address;
  FutexScope scope;
  uint32_t value;
  UserPtr<Timespec> timeout;
  uint64_t address2;
  uint32_t value3;
  bool realtime;
};

// FUTEX_WAIT's time-out is relative; it is kept across a restart.
Result<int64_t> wait(const FutexCall& call) {
  Task& task = current_task();
  Instant deadline = Instant::never();
  if (call.timeout) {
    Duration timeout = ARIL_TRY(read_timeout(call.timeout));
    deadline = task.restart_deadline.value_or(now() + timeout);
    task.restart_deadline = deadline;
    task.never_restart = true;
  }
  ARIL_TRY(wait_futex(call.address, call.scope, call.value, kFutexMatchAny, deadline));
  return 0;
}

Result<Instant> absolute_deadline(const FutexCall& call, bool realtime) {
  if (!call.timeout) return Instant::never();
  Duration time = ARIL_TRY(read_timeout(call.timeout));
  return realtime ? instant_of_realtime(time) : Instant{time.ns};
}

Result<int64_t> wait_bitset(const FutexCall& call) {
  Instant deadline = ARIL_TRY(absolute_deadline(call, call.realtime));
  ARIL_TRY(wait_futex(call.address, call.scope, call.value, call.value3, deadline));
  return 0;
}

Result<int64_t> wake(const FutexCall& call, uint32_t bitset) {
  if (bitset == 0) return fail(Errno::kInval);
  FutexKey key = ARIL_TRY(futex_key(call.address, call.scope));
  return wake_futex_key(key, call.value, bitset);
}

// For these the time-out argument is a second count.
uint32_t second_count(const FutexCall& call) {
  return static_cast<uint32_t>(call.timeout.address());
}

Result<int64_t> requeue(const FutexCall& call, bool compare) {
  if (static_cast<int32_t>(call.value) < 0 || static_cast<int32_t>(second_count(call)) < 0)
    return fail(Errno::kInval);
  FutexKey from = ARIL_TRY(futex_key(call.address, call.scope));
  FutexKey to = ARIL_TRY(futex_key(call.address2, call.scope));
  if (compare && ARIL_TRY(load_user_u32(call.address)) != call.value3) return fail(Errno::kAgain);
  return requeue_futex(from, to, call.value, second_count(call));
}

int32_t sign_extend_12(uint32_t value) { return static_cast<int32_t>(value << 20) >> 20; }

bool compare_old(uint32_t comparison, int32_t old, int32_t argument, bool& valid) {
  switch (comparison) {
    case 0:
      return old == argument;
    case 1:
      return old != argument;
    case 2:
      return old < argument;
    case 3:
      return old <= argument;
    case 4:
      return old > argument;
    case 5:
      return old >= argument;
    default:
      valid = false;
      return false;
  }
}

// FUTEX_WAKE_OP: changes the second word, wakes waiters of the first, and of the second if its old
// value meets a condition; all encoded in val3 [futex(2)].
Result<int64_t> wake_operation(const FutexCall& call) {
  FutexKey first = ARIL_TRY(futex_key(call.address, call.scope));
  FutexKey second = ARIL_TRY(futex_key(call.address2, call.scope));
  uint32_t operation = (call.value3 >> 28) & 7;
  int32_t argument = sign_extend_12(call.value3 >> 12);
  if (((call.value3 >> 28) & 8) != 0) argument = int32_t(1u << (argument & 31));
  uint32_t old = ARIL_TRY(load_user_u32(call.address2));
  for (;;) {
    uint32_t updated;
    switch (operation) {
      case 0:
        updated = uint32_t(argument);
        break;
      case 1:
        updated = old + uint32_t(argument);
        break;
      case 2:
        updated = old | uint32_t(argument);
        break;
      case 3:
        updated = old & ~uint32_t(argument);
        break;
      case 4:
        updated = old ^ uint32_t(argument);
        break;
      default:
        return fail(Errno::kNoSys);
    }
    if (ARIL_TRY(compare_exchange_user_u32(call.address2, old, updated))) break;
  }
  bool valid = true;
  bool wake_second =
      compare_old((call.value3 >> 24) & 15, int32_t(old), sign_extend_12(call.value3), valid);
  if (!valid) return fail(Errno::kNoSys);
  int64_t woken = wake_futex_key(first, call.value);
  if (wake_second) woken += wake_futex_key(second, second_count(call));
  return woken;
}

Result<int64_t> lock_pi(const FutexCall& call, bool realtime) {
  Instant deadline = ARIL_TRY(absolute_deadline(call, realtime));
  ARIL_TRY(lock_owned_futex(call.address, call.scope, current_task().tid(), deadline));
  return 0;
}

Result<int64_t> sys_futex(uint64_t address, uint32_t operation, uint32_t value,
                          UserPtr<Timespec> timeout, uint64_t address2, uint32_t value3) {
  FutexCall call{
      .address = address,
      .scope = (operation & kPrivateFlag) != 0 ? FutexScope::kPrivate : FutexScope::kShared,
      .value = value,
      .timeout = timeout,
      .address2 = address2,
      .value3 = value3,
      .realtime = (operation & kClockRealtimeFlag) != 0};
  switch (operation & ~(kPrivateFlag | kClockRealtimeFlag)) {
    case kWait:
      return wait(call);
    case kWake:
      return wake(call, kFutexMatchAny);
    case kRequeue:
      return requeue(call, false);
    case kCompareRequeue:
      return requeue(call, true);
    case kWakeOperation:
      return wake_operation(call);
    case kWaitBitset:
      return wait_bitset(call);
    case kWakeBitset:
      return wake(call, value3);
    case kLockPi:
      return lock_pi(call, true);
    case kLockPi2:
      return lock_pi(call, call.realtime);
    case kTryLockPi:
      ARIL_TRY(try_lock_owned_futex(address, current_task().tid()));
      return 0;
    case kUnlockPi:
      ARIL_TRY(unlock_owned_futex(address, call.scope, current_task().tid()));
      return 0;
    default:
      return fail(Errno::kNoSys);
  }
}
ARIL_SYSCALL(202, futex, sys_futex, "ptr op uint timespec ptr uint");

/// struct futex_waitv.
struct WaitvEntry {
  uint64_t value, address;
  uint32_t flags, reserved;
};

Result<int64_t> sys_futex_waitv(UserPtr<WaitvEntry> entries, uint32_t count, uint32_t flags,
                                UserPtr<Timespec> timeout, ClockId clock) {
  constexpr uint32_t kMost = 128, kSize32 = 2;
  if (flags != 0 || count == 0 || count > kMost || !entries) return fail(Errno::kInval);
  Instant deadline = Instant::never();
  if (timeout) {
    if (clock != ClockId::kRealtime && clock != ClockId::kMonotonic) return fail(Errno::kInval);
    Duration time = ARIL_TRY(read_timeout(timeout));
    deadline = clock == ClockId::kRealtime ? instant_of_realtime(time) : Instant{time.ns};
  }
  std::array<FutexWord, kMost> words;
  for (uint32_t i = 0; i < count; ++i) {
    WaitvEntry entry = ARIL_TRY((entries + i).read());
    if ((entry.flags & ~(kPrivateFlag | kSize32)) != 0 || (entry.flags & kSize32) == 0 ||
        entry.reserved != 0)
      return fail(Errno::kInval);
    words[i] = {
        .address = entry.address,
        .scope = (entry.flags & kPrivateFlag) != 0 ? FutexScope::kPrivate : FutexScope::kShared,
        .expected = static_cast<uint32_t>(entry.value)};
  }
  return ARIL_TRY(wait_any_futex(std::span(words).first(count), deadline));
}
ARIL_SYSCALL(449, futex_waitv, sys_futex_waitv, "ptr uint hex timespec clockid");

Result<void> sys_set_robust_list(uint64_t head, uint64_t size) {
  constexpr uint64_t kHeadSize = 24;
  if (size != kHeadSize) return fail(Errno::kInval);
  Task& task = current_task();
  task.robust_list = head;
  task.robust_list_size = size;
  return {};
}
ARIL_SYSCALL(273, set_robust_list, sys_set_robust_list, "ptr size");

Result<void> sys_get_robust_list(int tid, UserPtr<uint64_t> head, UserPtr<uint64_t> size) {
  RefPtr<Task> task = tid == 0 ? RefPtr<Task>(&current_task()) : process_table::find_task(tid);
  if (!task) return fail(Errno::kSrch);
  ARIL_TRY(head.write(task->robust_list));
  return size.write(task->robust_list_size);
}
ARIL_SYSCALL(274, get_robust_list, sys_get_robust_list, "pid >ptr >ptr");

}  // namespace
}  // namespace aril::linux_abi
