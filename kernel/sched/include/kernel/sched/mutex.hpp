#pragma once
#include <atomic>

#include "base/assert.hpp"
#include "kernel/sched/wait_queue.hpp"
#include "kernel/sync/spin_lock.hpp"

namespace aril {

/// Mutual exclusion between threads; the waiter sleeps. Thread context only, no spin lock held. Not
/// recursive. One atomic operation to take, two to release, when nobody waits. A thread that takes
/// a mutex whose rank is not above every one that it holds is stopped with a panic: that is a
/// deadlock waiting to happen.
class Mutex {
 public:
  constexpr explicit Mutex(LockRank rank) : rank_(rank) {
    ARIL_ASSERT(rank <= LockRank::kMutexLeaf);  // a thread's mutexes are bits of a word
  }
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock();
  /// May be called out of rank order: it cannot wait, so it cannot deadlock.
  [[nodiscard]] bool try_lock();
  void unlock();
  [[nodiscard]] bool held_by_this_thread() const;

 private:
  /// Owner while there is no Thread yet: never dereferenced.
  static inline Thread* const kBootOwner = reinterpret_cast<Thread*>(1);
  bool take();
  [[nodiscard]] uint64_t rank_bit() const { return uint64_t{1} << static_cast<unsigned>(rank_); }
  void check_order() const;
  void note_taken();

  std::atomic<Thread*> owner_{nullptr};
  LockRank rank_;
  WaitQueue queue_;
};

}  // namespace aril
