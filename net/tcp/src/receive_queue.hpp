#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "net/buffer/block.hpp"
#include "net/buffer/ring.hpp"
#include "net/ip/context.hpp"
#include "net/wire/tcp.hpp"

namespace aril::net {

/// The received bytes that the application has not read, by sequence number. Bytes that arrive
/// ahead of a gap are put where they belong at once: filling the gap moves nothing, and memory is
/// bounded by the window whatever the peer sends.
class ReceiveQueue {
 public:
  /// Runs of bytes beyond the first gap that are remembered; a segment that would make more is
  /// dropped.
  static constexpr size_t kMaxRanges = 32;

  explicit ReceiveQueue(StackContext& context) : context_(context) {}
  ~ReceiveQueue() { clear(); }

  /// Of an empty queue: the sequence number of the first byte to come.
  void start_at(uint32_t sequence) { read_ = next_ = origin_ = sequence; }
  /// RCV.NXT, as far as data goes.
  [[nodiscard]] uint32_t next() const { return next_; }
  [[nodiscard]] size_t readable() const { return next_ - read_; }
  [[nodiscard]] bool has_gaps() const { return range_count_ != 0; }

  enum class Added : uint8_t { kInOrder, kAhead, kDuplicate, kTooManyGaps, kNoMemory };
  /// `bytes` lie within the window.
  Added add(uint32_t sequence, std::span<const std::byte> bytes);

  /// Shares `limit` readable bytes from `skip` on. kNoMem.
  Result<BlockChain> peek(size_t limit, size_t skip) const;
  size_t copy_to(std::span<std::byte> out) const;
  void consume(size_t count);
  void clear();
  /// Forgets what lies ahead of gaps [RFC 2018] 8: under memory pressure.
  void prune();

  /// What to report in SACK blocks, the most recently changed first [RFC 2018] 4.
  size_t sack_blocks(std::span<SackBlock> out) const;

 private:
  static constexpr size_t kBlockCharge = 4096;
  struct Range {
    uint32_t start = 0, end = 0;
    uint32_t stamp = 0;
  };
  Result<void> store(uint32_t sequence, std::span<const std::byte> bytes);
  bool note_range(uint32_t start, uint32_t end);
  void absorb_ranges();
  void release_from(size_t block_index);
  void release(RefPtr<Block>& block);

  StackContext& context_;
  // blocks_[i] holds the bytes from origin_ + i * Block::kCapacity on; null where none came yet.
  mutable Ring<RefPtr<Block>, 4> blocks_;
  uint32_t origin_ = 0, read_ = 0, next_ = 0;
  std::array<Range, kMaxRanges> ranges_;  // sorted, disjoint, not touching, all after next_
  size_t range_count_ = 0;
  uint32_t stamp_ = 0;
};

}  // namespace aril::net
