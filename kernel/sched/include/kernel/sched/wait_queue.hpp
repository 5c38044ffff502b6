#pragma once
#include <atomic>
#include <cstdint>

#include "base/intrusive_list.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "kernel/sync/cpu_fence.hpp"
#include "kernel/sync/spin_lock.hpp"

namespace aril {

class Thread;

/// One party's registration on one WaitQueue. `notify` runs under the queue's spin lock, perhaps in
/// interrupt context: it must not sleep, allocate, or touch that queue. It returns true when it
/// consumed the wake-up (counts against an exclusive wake's limit). `events` is what the waker
/// passed (poll bits, or ~0).
class WaitEntry {
 public:
  using Notify = bool (*)(WaitEntry& entry, uint32_t events);
  explicit WaitEntry(Notify notify) : notify_(notify) {}
  [[nodiscard]] bool is_queued() const { return node_.is_linked(); }

 private:
  friend class WaitQueue;
  ListNode node_;
  Notify notify_;
  class WaitQueue* queue_ = nullptr;
};

/// Why a blocked thread runs again.
enum class WakeReason : uint8_t { kWoken, kTimedOut, kInterrupted };

enum class Interruptible : uint8_t { kNo, kYes };

/// Threads (and epoll registrations) waiting for something to change. The condition itself lives
/// elsewhere, under its owner's lock: change it, release, then wake.
class WaitQueue {
 public:
  constexpr WaitQueue() = default;
  ~WaitQueue();

  /// Any context.
  void wake_all(uint32_t events = ~0u);
  /// Notifies entries in order until `count` have consumed the wake-up. Any context.
  void wake(unsigned count, uint32_t events = ~0u);

  void add(WaitEntry& entry);
  /// Safe when it was removed already. After it returns, `notify` is not running and will not run.
  void remove(WaitEntry& entry);
  /// Nobody waits. A waker that changed its condition first, with whatever store, and a waiter that
  /// registered first and then tests it cannot both miss each other.
  [[nodiscard]] bool empty() const {
    cpu_fence();
    return waiting_.load(std::memory_order_relaxed) == 0;
  }

  /// Blocks the calling thread until `condition()` is true; tests it first, and after every
  /// wake-up. kTimedOut at `deadline`; kRestart when a signal is pending and `interruptible` is
  /// kYes. Thread context, no spin lock held; `condition` runs with no lock of this queue held and
  /// takes the locks that it needs.
  template <typename Condition>
  Result<void> wait_until(Condition condition, Instant deadline = Instant::never(),
                          Interruptible interruptible = Interruptible::kYes);

 private:
  mutable SpinLock lock_{LockRank::kWaitQueue};
  std::atomic<uint32_t> waiting_{0};
  IntrusiveList<WaitEntry, &WaitEntry::node_> entries_;
};

/// A WaitEntry that wakes the thread that made it. For loops that watch several queues (poll):
///   ThreadWaiter waiters[n]; add each; loop { ThreadWaiter::prepare(); test; block }.
class ThreadWaiter : public WaitEntry {
 public:
  ThreadWaiter();

  /// Announces that the calling thread is about to block: a wake-up from here on makes the next
  /// block() return at once. Call before testing the condition.
  static void prepare();
  /// Blocks unless a wake-up came since prepare().
  static WakeReason block(Instant deadline, Interruptible interruptible);
  /// Undoes prepare() when the condition turned out true.
  static void cancel();

  /// For locks that a condition takes between prepare() and block() and that sleep themselves: they
  /// ask before, and go back afterwards, with a wake-up pending, as one may have been missed.
  [[nodiscard]] static bool is_preparing();
  static void prepare_woken();

  /// Any context. False when the thread was awake already.
  bool wake();

 private:
  Thread* thread_;
};

template <typename Condition>
Result<void> WaitQueue::wait_until(Condition condition, Instant deadline,
                                   Interruptible interruptible) {
  if (condition()) return {};
  ThreadWaiter waiter;
  add(waiter);
  Result<void> result;
  for (;;) {
    ThreadWaiter::prepare();
    if (condition()) {
      ThreadWaiter::cancel();
      break;
    }
    WakeReason reason = ThreadWaiter::block(deadline, interruptible);
    if (reason == WakeReason::kWoken) continue;
    if (condition()) break;
    result = fail(reason == WakeReason::kTimedOut ? Errno::kTimedOut : Errno::kRestart);
    break;
  }
  remove(waiter);
  return result;
}

}  // namespace aril
