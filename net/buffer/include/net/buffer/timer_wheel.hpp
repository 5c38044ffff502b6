#pragma once
#include <array>
#include <cstdint>
#include <limits>

#include "base/intrusive_list.hpp"
#include "base/time.hpp"

namespace aril::net {

class TimerWheel;

/// Something to be called back at a point in time; embedded in what it belongs to.
class WheelTimer {
 public:
  using Callback = void (*)(void* argument);
  WheelTimer() = default;
  WheelTimer(Callback callback, void* argument) : callback_(callback), argument_(argument) {}
  /// Must not be armed when destroyed.
  ~WheelTimer() = default;
  [[nodiscard]] bool is_armed() const { return node_.is_linked(); }
  /// TimerWheel::arm_by() for this time would change nothing.
  [[nodiscard]] bool is_armed_by(Instant deadline) const {
    return is_armed() && static_cast<int64_t>(tick_ << kTickShift) <= deadline.ns;
  }

 private:
  friend class TimerWheel;
  static constexpr unsigned kTickShift = 20;  // 2^20 ns = 1.05 ms
  ListNode node_;
  uint64_t tick_ = 0;
  uint16_t slot_ = 0;
  Callback callback_ = nullptr;
  void* argument_ = nullptr;
};

/// A hierarchical timing wheel: four levels of 64 slots with a tick of about one millisecond.
/// Arming and cancelling cost a few instructions and never allocate. Timers fire up to one tick
/// late, never early. Not synchronised.
class TimerWheel {
 public:
  explicit TimerWheel(Instant now) : current_(tick_of(now)) {}
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  /// Makes sure that it fires no later than `deadline` asks. A timer that is armed for an earlier
  /// time stays there: owners look at their own deadlines when called back, and arm again. That
  /// makes the common case, a deadline that moves back and forth with every packet, free.
  void arm_by(WheelTimer& timer, Instant deadline);
  void cancel(WheelTimer& timer);
  /// Calls back what is due.
  void advance(Instant now);
  /// When advance() next has work; may be early, for a cascade or a timer that was cancelled, and
  /// exact then. Instant::never() when nothing was armed.
  [[nodiscard]] Instant next_deadline() const {
    if (next_ >= uint64_t{1} << (63 - kTickShift)) return Instant::never();
    return Instant{static_cast<int64_t>(next_ << kTickShift)};
  }

 private:
  static constexpr unsigned kLevels = 4, kSlotBits = 6, kSlots = 1u << kSlotBits;
  static constexpr unsigned kTickShift = WheelTimer::kTickShift;
  static constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();

  static uint64_t tick_of(Instant time) {
    return time.ns <= 0 ? 0 : static_cast<uint64_t>(time.ns) >> kTickShift;
  }
  void insert(WheelTimer& timer);
  void unlink(WheelTimer& timer);
  [[nodiscard]] uint64_t find_next() const;
  void run_tick();

  struct Level {
    uint64_t occupied = 0;
    std::array<IntrusiveList<WheelTimer, &WheelTimer::node_>, kSlots> slots;
  };
  std::array<Level, kLevels> levels_;
  uint64_t current_;
  uint64_t next_ = kNever;  // no slot is due before
};

}  // namespace aril::net
