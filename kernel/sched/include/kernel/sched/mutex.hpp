#pragma once
#include <atomic>

#include "kernel/sync/spin_lock.hpp"
#include "kernel/sched/wait_queue.hpp"

namespace aril {

/// Mutual exclusion between threads; the waiter sleeps. Thread context only, no spin lock held. Not
/// recursive. One atomic operation each way when nobody waits.
class Mutex {
 public:
  constexpr explicit Mutex(LockRank rank) : rank_(rank) {}
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock();
  [[nodiscard]] bool try_lock();
  void unlock();
  [[nodiscard]] bool held_by_this_thread() const;

 private:
  std::atomic<Thread*> owner_{nullptr};
  std::atomic<uint32_t> waiters_{0};
  LockRank rank_;
  WaitQueue queue_;
};

}  // namespace aril
