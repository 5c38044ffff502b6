#pragma once
#include <cstdint>
#include <span>

#include "base/result.hpp"
#include "base/time.hpp"
#include "kernel/vm/memory_object.hpp"

/// Sleeping on words of application memory [futex(2)].
///
/// A waiter first joins its bucket's list and only then compares the word, so that the word is
/// never read under a lock (the read may fault and sleep). A wake-up that such a waiter consumed
/// although its word turned out different is passed on to the next waiter.
namespace aril::linux_abi {

/// What a futex is identified by: the address space and address for private memory, the memory
/// object and offset for shared mappings.
struct FutexKey {
  uint64_t owner = 0;
  uint64_t offset = 0;
  RefPtr<MemoryObject> object;  ///< keeps `owner` from being reused while somebody waits

  friend bool operator==(const FutexKey& a, const FutexKey& b) {
    return a.owner == b.owner && a.offset == b.offset;
  }
  [[nodiscard]] uint64_t hash() const;
};

enum class FutexScope : uint8_t { kPrivate, kShared };
inline constexpr uint32_t kFutexMatchAny = 0xffffffff;

/// kInval unless 4-byte aligned; kFault outside application memory.
Result<FutexKey> futex_key(uint64_t address, FutexScope scope);

/// Sleeps while the word is `expected`, until woken. kAgain when it is not; kTimedOut, kRestart.
Result<void> wait_futex(uint64_t address, FutexScope scope, uint32_t expected, uint32_t bitset,
                        Instant deadline);
/// One of the words that futex_waitv sleeps on.
struct FutexWord {
  uint64_t address = 0;
  FutexScope scope = FutexScope::kPrivate;
  uint32_t expected = 0;
};
/// Sleeps while all words are as expected; the index of one that was woken. Errors as above,
/// kNoMem.
Result<unsigned> wait_any_futex(std::span<const FutexWord> words, Instant deadline);
/// Wakes up to `count` waiters whose bitset meets `bitset`; how many.
unsigned wake_futex_key(const FutexKey& key, unsigned count, uint32_t bitset = kFutexMatchAny);
/// Wakes both private and shared waiters: for words that the kernel itself clears.
unsigned wake_futex(uint64_t address, unsigned count);
/// Wakes `wake_count` waiters of `from` and moves up to `requeue_count` others to `to`. How many
/// were woken and moved.
unsigned requeue_futex(const FutexKey& from, const FutexKey& to, unsigned wake_count,
                       unsigned requeue_count);

/// Priority-inheriting futexes: the word holds the owner's tid and FUTEX_WAITERS. Priorities are
/// not inherited; ownership is handed over in order of arrival.
Result<void> lock_owned_futex(uint64_t address, FutexScope scope, int tid, Instant deadline);
Result<void> try_lock_owned_futex(uint64_t address, int tid);
Result<void> unlock_owned_futex(uint64_t address, FutexScope scope, int tid);

/// Marks the futexes that the ending task `tid` still holds as ownerless and wakes a waiter of each
/// [linux Documentation/locking/robust-futex-ABI.rst]. The list is the application's: bounded and
/// checked.
void exit_robust_list(uint64_t head, uint64_t size, int tid);

inline constexpr uint32_t kFutexWaiters = 0x80000000, kFutexOwnerDied = 0x40000000,
                          kFutexTidMask = 0x3fffffff;

}  // namespace aril::linux_abi
