#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/time.hpp"
#include "net/buffer/block.hpp"
#include "net/buffer/siphash.hpp"
#include "net/buffer/timer_wheel.hpp"
#include "net/ip/counters.hpp"

namespace aril::net {

/// What the queues of all sockets hold together, against what they may.
class MemoryBudget {
 public:
  explicit MemoryBudget(size_t limit) : limit_(limit) {}
  void charge(size_t bytes) { used_ += bytes; }
  void release(size_t bytes) { used_ -= bytes; }
  [[nodiscard]] size_t used() const { return used_; }
  [[nodiscard]] size_t limit() const { return limit_; }
  /// Queues should stop growing by themselves.
  [[nodiscard]] bool is_under_pressure() const { return used_ > limit_ / 4 * 3; }
  [[nodiscard]] bool is_exhausted() const { return used_ >= limit_; }

 private:
  size_t limit_;
  size_t used_ = 0;
};

/// The blocks that the sockets' queues do without a moment later.
struct BlockCaches {
  /// At most so many of each kind, and 1/64 of what the queues may hold.
  static constexpr size_t kMost = 32;
  explicit BlockCaches(size_t limit)
      : whole(Block::kCapacity, std::min(kMost, limit / 64 / (Block::kCapacity + 64))),
        brief(Block::kShortCapacity, kMost) {}
  void recycle(RefPtr<Block> block) {
    (block->capacity() == Block::kCapacity ? whole : brief).recycle(std::move(block));
  }
  BlockCache whole, brief;
};

/// What every part of one stack shares.
struct StackContext {
  Instant now;
  TimerWheel timers;
  Counters counters;
  SipKey key;
  MemoryBudget memory;
  BlockCaches blocks;
  uint64_t random_counter;

  /// Unpredictable to whoever does not know the key.
  uint64_t random() { return siphash(key, {0x72616e646f6d, ++random_counter}); }
};

}  // namespace aril::net
