#pragma once
#include <atomic>
#include <cstdint>

#include "base/intrusive_list.hpp"
#include "linux/abi/signal.hpp"

namespace aril::linux_abi {

/// A signal instance on its way to a task. Timers embed theirs, so that expiry in interrupt context
/// need not allocate; others come from the heap and are freed when they are taken.
struct QueuedSignal {
  ListNode node;
  SignalInfo info;
  bool owned_by_queue = true;  ///< false: embedded in its sender, which unlinks it before it dies
  /// Counts the instances from the heap that wait in one process [RLIMIT_SIGPENDING]; null: not
  /// counted.
  std::atomic<uint32_t>* account = nullptr;

  QueuedSignal() = default;
  ~QueuedSignal() {
    if (account != nullptr) account->fetch_sub(1, std::memory_order_relaxed);
  }
};

/// Signals that wait for delivery, to a task or to a whole process. Standard signals are pending at
/// most once; real-time signals queue in order [signal(7)]. Guarded by the process's signal lock.
class PendingSignals {
 public:
  PendingSignals() = default;
  ~PendingSignals() { flush(SignalSet::all()); }

  [[nodiscard]] SignalSet set() const { return set_; }

  /// Whether an instance of this signal would be recorded (a standard signal that is already
  /// pending is not).
  [[nodiscard]] bool accepts(int number) const {
    return number >= kSignalRealTimeMin || !set_.contains(number);
  }
  /// Adds an instance; `signal` must not be queued anywhere.
  void push(QueuedSignal& signal);
  /// Marks a signal pending without details: memory for them was not to be had.
  void push_bare(int number) { set_.add(number); }

  /// Takes the most urgent pending signal of `wanted`: synchronous faults first, then by number;
  /// 0 when there is none.
  int take(SignalSet wanted, SignalInfo& info);
  /// Takes an embedded instance back, if it is queued here. Only its owner knows in which of the
  /// pending sets it put it.
  void withdraw(QueuedSignal& signal);
  /// Drops all instances of these signals.
  void flush(SignalSet signals);

 private:
  SignalSet set_;
  IntrusiveList<QueuedSignal, &QueuedSignal::node> queue_;
};

}  // namespace aril::linux_abi
