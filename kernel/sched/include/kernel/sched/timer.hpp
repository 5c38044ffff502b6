#pragma once
#include <atomic>
#include <cstdint>

#include "arch/timer.hpp"
#include "base/pairing_heap.hpp"
#include "base/time.hpp"

namespace aril {

inline Instant now() { return arch::monotonic_now(); }

/// A one-shot callback at a point in time. `callback` runs in interrupt context on the CPU that
/// armed it: it must not sleep or allocate; it may re-arm its own timer. Neither arm nor cancel
/// allocates.
class Timer {
 public:
  using Callback = void (*)(void* argument);
  constexpr Timer() = default;
  constexpr Timer(Callback callback, void* argument) : callback_(callback), argument_(argument) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  /// Cancels.
  ~Timer() { cancel(); }

  /// Before the first arm().
  void set_callback(Callback callback, void* argument) {
    callback_ = callback;
    argument_ = argument;
  }
  /// Any context; replaces an earlier deadline. Instant::never() cancels.
  void arm(Instant deadline);
  /// After it returns, the callback is not running (unless called from it) and will not run.
  void cancel();
  [[nodiscard]] bool is_armed() const { return node_.linked; }
  [[nodiscard]] Instant deadline() const { return deadline_; }

 private:
  friend class TimerQueue;
  Callback callback_ = nullptr;
  void* argument_ = nullptr;
  Instant deadline_ = Instant::never();
  PairingHeapNode<Timer> node_;
  /// Whose queue it is in, or was in last: its lock guards this object.
  std::atomic<uint32_t> cpu_{kNoCpu};
  static constexpr uint32_t kNoCpu = ~0u;
};

}  // namespace aril
