#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "net/wire/tcp.hpp"

namespace aril::net {

/// What the peer has reported by SACK of the data beyond SND.UNA [RFC 2018, RFC 6675].
class Scoreboard {
 public:
  static constexpr size_t kMaxRanges = 64;

  /// Adds one block that lies within (una, nxt]; the number of bytes that are new. When there are
  /// too many ranges, one is forgotten, which only costs retransmissions.
  uint32_t add(uint32_t start, uint32_t end);
  /// Forgets everything up to `una`.
  void acknowledge(uint32_t una);
  void clear() { count_ = 0; }

  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] uint32_t bytes() const;
  /// The end of the highest range; only when not empty.
  [[nodiscard]] uint32_t highest() const { return ranges_[count_ - 1].end; }

  struct Hole {
    uint32_t start = 0, end = 0;
    /// [RFC 6675] 4 IsLost: three ranges, or more than two segments' bytes, were reported above it.
    bool is_lost = false;
  };
  /// The first hole that has bytes at or after `from`, cut to begin there; holes end below
  /// highest(). False when there is none.
  [[nodiscard]] bool next_hole(uint32_t una, uint32_t from, uint32_t mss, Hole& hole) const;

 private:
  std::array<SackBlock, kMaxRanges> ranges_;  // sorted, disjoint
  size_t count_ = 0;
};

}  // namespace aril::net
