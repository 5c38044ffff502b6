#include "linux/process/futex.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <new>
#include <optional>

#include "arch/page_table.hpp"
#include "base/intrusive_list.hpp"
#include "base/units.hpp"
#include "kernel/sched/wait_queue.hpp"
#include "kernel/sync/spin_lock.hpp"
#include "kernel/vm/address_space.hpp"
#include "kernel/vm/user_copy.hpp"
#include "linux/process/task.hpp"

namespace aril::linux_abi {
namespace {

struct Bucket;

struct Waiter {
  ListNode node;
  FutexKey key;
  uint32_t bitset = kFutexMatchAny;
  // The bucket whose lock guards this waiter. Null while it moves to another.
  std::atomic<Bucket*> bucket{nullptr};
  std::atomic<bool> woken{false};
  // Its thread's, on that thread's stack.
  WaitQueue* queue = nullptr;
};
using WaiterList = IntrusiveList<Waiter, &Waiter::node>;

struct Bucket {
  SpinLock lock{LockRank::kFutex};
  WaiterList waiters;
};

constexpr size_t kBuckets = 256;

Bucket& bucket_of(const FutexKey& key) {
  // Constructed at the first futex call. -fno-threadsafe-statics: that call comes from the first
  // program before it has made a second thread.
  [[clang::no_destroy]] static std::array<Bucket, kBuckets> buckets;
  return buckets[key.hash() % kBuckets];
}

// Locks the bucket that `waiter` is in, wherever a requeue has taken it.
Bucket& lock_bucket_of(Waiter& waiter) {
  for (;;) {
    Bucket* bucket = waiter.bucket.load(std::memory_order_acquire);
    if (bucket == nullptr) {
      arch::relax();
      continue;
    }
    bucket->lock.lock();
    if (waiter.bucket.load(std::memory_order_relaxed) == bucket) return *bucket;
    bucket->lock.unlock();
  }
}

void enqueue(Waiter& waiter) {
  Bucket& bucket = bucket_of(waiter.key);
  LockGuard guard(bucket.lock);
  waiter.bucket.store(&bucket, std::memory_order_release);
  bucket.waiters.push_back(waiter);
}

// Leaves the list; true when the waiter had been woken. Also ends a waker's use of `waiter`.
bool dequeue(Waiter& waiter) {
  Bucket& bucket = lock_bucket_of(waiter);
  bool woken = waiter.woken.load(std::memory_order_relaxed);
  if (!woken) bucket.waiters.remove(waiter);
  bucket.lock.unlock();
  return woken;
}

void wake_locked(Bucket& bucket, Waiter& waiter) {
  bucket.waiters.remove(waiter);
  waiter.woken.store(true, std::memory_order_release);
  waiter.queue->wake_all();
}

}  // namespace

uint64_t FutexKey::hash() const {
  // Fibonacci hashing; the low two bits of an offset are always zero.
  return ((owner * 0x9e3779b97f4a7c15u) ^ (offset >> 2) * 0xff51afd7ed558ccdu) >> 40;
}

Result<FutexKey> futex_key(uint64_t address, FutexScope scope) {
  if (!is_aligned(address, 4)) return fail(Errno::kInval);
  if (address >= arch::kApplicationTop) return fail(Errno::kFault);
  AddressSpace* space = current_address_space();
  if (space == nullptr) return fail(Errno::kFault);
  FutexKey key{.owner = space->id(), .offset = address, .object = nullptr};
  if (scope == FutexScope::kPrivate) return key;
  if (auto backing = space->shared_backing(address)) {
    key.object = std::move(backing->first);
    // An identity, never dereferenced. Ids of spaces are small numbers: no kernel address.
    key.owner = reinterpret_cast<uint64_t>(key.object.get());
    key.offset = backing->second;
  }
  return key;
}

Result<void> wait_futex(uint64_t address, FutexScope scope, uint32_t expected, uint32_t bitset,
                        Instant deadline) {
  if (bitset == 0) return fail(Errno::kInval);
  WaitQueue queue;
  Waiter waiter;
  waiter.queue = &queue;
  waiter.key = ARIL_TRY(futex_key(address, scope));
  waiter.bitset = bitset;
  if (ARIL_TRY(load_user_u32(address)) != expected) return fail(Errno::kAgain);
  enqueue(waiter);
  Result<uint32_t> value = load_user_u32(address);
  if (!value || *value != expected) {
    if (dequeue(waiter)) wake_futex_key(waiter.key, 1, bitset);
    return fail(value ? Errno::kAgain : value.error());
  }
  Result<void> result =
      queue.wait_until([&] { return waiter.woken.load(std::memory_order_acquire); }, deadline);
  if (dequeue(waiter)) return {};
  return result;
}

Result<unsigned> wait_any_futex(std::span<const FutexWord> words, Instant deadline) {
  std::unique_ptr<Waiter[]> waiters(new (std::nothrow) Waiter[words.size()]);
  if (!waiters) return fail(Errno::kNoMem);
  WaitQueue queue;
  std::span<Waiter> all(waiters.get(), words.size());
  for (size_t i = 0; i < words.size(); ++i) {
    all[i].queue = &queue;
    all[i].key = ARIL_TRY(futex_key(words[i].address, words[i].scope));
    // Before anything is queued: a fault here may sleep.
    (void)ARIL_TRY(load_user_u32(words[i].address));
  }
  size_t queued = 0;
  Result<void> result;
  while (queued < words.size() && result) {
    const FutexWord& word = words[queued];
    enqueue(all[queued++]);
    Result<uint32_t> value = load_user_u32(word.address);
    if (!value) {
      result = fail(value.error());
    } else if (*value != word.expected) {
      result = fail(Errno::kAgain);
    }
  }
  auto is_woken = [](const Waiter& waiter) { return waiter.woken.load(std::memory_order_acquire); };
  if (result)
    result = queue.wait_until([&] { return std::ranges::any_of(all, is_woken); }, deadline);
  // A wake-up that came meanwhile is not lost, whatever else happened. The last one counts, as on
  // Linux.
  std::optional<unsigned> woken;
  for (size_t i = 0; i < queued; ++i)
    if (dequeue(all[i])) woken = static_cast<unsigned>(i);
  if (woken) return *woken;
  return fail(result.error());
}

unsigned wake_futex_key(const FutexKey& key, unsigned count, uint32_t bitset) {
  Bucket& bucket = bucket_of(key);
  LockGuard guard(bucket.lock);
  unsigned woken = 0;
  for (auto next = bucket.waiters.begin(); next != bucket.waiters.end() && woken < count;) {
    Waiter& waiter = *next;
    ++next;
    if (!(waiter.key == key) || (waiter.bitset & bitset) == 0) continue;
    wake_locked(bucket, waiter);
    ++woken;
  }
  return woken;
}

unsigned wake_futex(uint64_t address, unsigned count) {
  unsigned woken = 0;
  if (auto key = futex_key(address, FutexScope::kPrivate)) woken = wake_futex_key(*key, count);
  if (auto key = futex_key(address, FutexScope::kShared); key && key->object)
    woken += wake_futex_key(*key, count);
  return woken;
}

unsigned requeue_futex(const FutexKey& from, const FutexKey& to, unsigned wake_count,
                       unsigned requeue_count) {
  unsigned touched = wake_futex_key(from, wake_count);
  if (requeue_count == 0 || from == to) return touched;
  Bucket& source = bucket_of(from);
  Bucket& target = bucket_of(to);
  // No interrupt in between: a waiter that wants to leave spins until it has arrived.
  arch::InterruptGuard no_interrupts;
  WaiterList moving;
  {
    LockGuard guard(source.lock);
    unsigned moved = 0;
    for (auto next = source.waiters.begin();
         next != source.waiters.end() && moved < requeue_count;) {
      Waiter& waiter = *next;
      ++next;
      if (!(waiter.key == from)) continue;
      source.waiters.remove(waiter);
      waiter.bucket.store(nullptr, std::memory_order_relaxed);
      moving.push_back(waiter);
      ++moved;
    }
    touched += moved;
  }
  LockGuard guard(target.lock);
  while (Waiter* waiter = moving.pop_front()) {
    // The object reference of the old key stays with the waiter: its destructor must not run under
    // this lock, and `to` is kept alive by its mapping or by its own waiters.
    waiter->key.owner = to.owner;
    waiter->key.offset = to.offset;
    target.waiters.push_back(*waiter);
    waiter->bucket.store(&target, std::memory_order_release);
  }
  return touched;
}

}  // namespace aril::linux_abi
