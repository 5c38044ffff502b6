#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "net/buffer/block.hpp"
#include "net/buffer/ring.hpp"
#include "net/ip/context.hpp"
#include "net/ip/interface.hpp"

namespace aril::net {

/// The bytes that the application gave and the peer has not acknowledged, by sequence number.
class SendQueue {
 public:
  explicit SendQueue(StackContext& context) : context_(context) {}
  ~SendQueue() { clear(); }

  /// Of an empty queue: the sequence number of the first byte to come.
  void start_at(uint32_t sequence) { start_ = end_ = sequence; }
  [[nodiscard]] uint32_t start() const { return start_; }
  [[nodiscard]] uint32_t end() const { return end_; }
  [[nodiscard]] size_t size() const { return end_ - start_; }

  /// Copies to the end; the count, which is less than asked when memory is short. kNoMem for none.
  Result<size_t> append(std::span<const std::byte> bytes);
  /// Takes up to `limit` bytes from the front of `chain`, sharing its blocks except for small
  /// pieces.
  Result<size_t> append(BlockChain& chain, size_t limit);
  /// Frees everything before `sequence`.
  void acknowledge(uint32_t sequence);
  /// Describes up to `length` bytes from `sequence` in at most pieces.size() pieces. How many
  /// pieces; `length` becomes the number of bytes in them.
  size_t gather(uint32_t sequence, uint32_t& length, std::span<TxPiece> pieces);
  void clear();

 private:
  /// Pieces up to this size are copied together: a block each would waste memory.
  static constexpr size_t kCopyLimit = 512;
  static constexpr uint32_t kBlockCharge = 4096, kShortCharge = 512;
  struct Piece {
    RefPtr<Block> block;
    std::byte* data = nullptr;
    uint32_t length = 0;
    uint32_t start = 0;     // sequence number of the first byte
    uint32_t charge = 0;    // against the budget
    bool may_grow = false;  // the block is ours alone: bytes may be added behind
  };
  /// A new last piece, with the reference in `block`.
  Result<void> push(RefPtr<Block>& block, std::byte* data, uint32_t length, uint32_t charge);
  void release(Piece& piece);
  [[nodiscard]] size_t find(uint32_t sequence);

  StackContext& context_;
  Ring<Piece, 4> pieces_;
  uint32_t start_ = 0, end_ = 0;
  size_t hint_ = 0;  // the piece that the last gather ended in
};

}  // namespace aril::net
