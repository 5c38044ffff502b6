#include "net/buffer/timer_wheel.hpp"

#include <algorithm>
#include <bit>

namespace aril::net {
void TimerWheel::arm_by(WheelTimer& timer, Instant deadline) {
  if (deadline == Instant::never()) return;
  // Rounded up, so that it does not fire before its time.
  uint64_t tick = tick_of(deadline + Duration::nanoseconds((int64_t{1} << kTickShift) - 1));
  tick = std::max(tick, current_ + 1);
  if (timer.is_armed()) {
    if (timer.tick_ <= tick) return;
    unlink(timer);
  }
  timer.tick_ = tick;
  insert(timer);
}

void TimerWheel::cancel(WheelTimer& timer) {
  if (timer.is_armed()) unlink(timer);
}

// A timer lies on the level whose span covers its distance; when the wheel reaches its slot there,
// it moves to a finer level. Beyond the last level's span it waits in the farthest slot.
void TimerWheel::insert(WheelTimer& timer) {
  uint64_t distance = timer.tick_ - current_;
  unsigned level = 0;
  while (level + 1 < kLevels && distance >> (kSlotBits * (level + 1)) != 0) ++level;
  uint64_t position = timer.tick_ >> (kSlotBits * level);
  uint64_t farthest = (current_ >> (kSlotBits * level)) + kSlots - 1;
  if (level == kLevels - 1) position = std::min(position, farthest);
  auto slot = static_cast<unsigned>(position & (kSlots - 1));
  timer.slot_ = static_cast<uint16_t>(level * kSlots + slot);
  levels_[level].slots[slot].push_back(timer);
  levels_[level].occupied |= uint64_t{1} << slot;
  next_ = std::min(next_, position << (kSlotBits * level));
}

void TimerWheel::unlink(WheelTimer& timer) {
  Level& level = levels_[timer.slot_ / kSlots];
  unsigned slot = timer.slot_ % kSlots;
  level.slots[slot].remove(timer);
  if (level.slots[slot].empty()) level.occupied &= ~(uint64_t{1} << slot);
}

/// Of all slots, the first that is due.
uint64_t TimerWheel::find_next() const {
  uint64_t next = kNever;
  for (unsigned i = 0; i < kLevels; ++i) {
    if (levels_[i].occupied == 0) continue;
    uint64_t position = current_ >> (kSlotBits * i);
    // The slot under the hand itself counts as a whole turn away.
    auto rotation = static_cast<int>((position + 1) & (kSlots - 1));
    auto distance =
        static_cast<uint64_t>(std::countr_zero(std::rotr(levels_[i].occupied, rotation))) + 1;
    next = std::min(next, (position + distance) << (kSlotBits * i));
  }
  return next;
}

void TimerWheel::run_tick() {
  for (unsigned i = kLevels - 1; i > 0; --i) {
    unsigned shift = kSlotBits * i;
    if ((current_ & ((uint64_t{1} << shift) - 1)) != 0) continue;
    auto slot = static_cast<unsigned>((current_ >> shift) & (kSlots - 1));
    IntrusiveList<WheelTimer, &WheelTimer::node_>& list = levels_[i].slots[slot];
    levels_[i].occupied &= ~(uint64_t{1} << slot);
    while (WheelTimer* timer = list.pop_front()) insert(*timer);
  }
  auto slot = static_cast<unsigned>(current_ & (kSlots - 1));
  // Callbacks arm at current_ + 1 at the earliest, so this slot only empties.
  while (WheelTimer* timer = levels_[0].slots[slot].front()) {
    unlink(*timer);
    timer->callback_(timer->argument_);
  }
}

void TimerWheel::advance(Instant now) {
  uint64_t target = tick_of(now);
  while (next_ <= target) {
    next_ = find_next();
    if (next_ > target) break;
    current_ = next_;
    // What the callbacks arm is looked for with the rest.
    run_tick();
    next_ = current_;
  }
  current_ = std::max(current_, target);
}

}  // namespace aril::net
