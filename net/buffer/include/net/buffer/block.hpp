#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "net/buffer/ring.hpp"

namespace aril::net {

/// A run of bytes that several owners share: storage of its own, or memory lent by someone else (a
/// page of the page cache, for sendfile without a copy). Reference counts are atomic; the
/// bytes are written only by the one who allocated it, before sharing. Any thread.
class Block final : public RefCounted {
 public:
  /// Bytes of storage in a block that fills one page with its header.
  static constexpr size_t kCapacity = 4096 - 64;
  /// And in one for a short message, an eighth of that.
  static constexpr size_t kShortCapacity = 512 - 64;

  /// kNoMem.
  static Result<RefPtr<Block>> allocate(size_t capacity = kCapacity);
  /// Shares `bytes`, which stay valid and unmoved until `release(context, bytes)` is called, once,
  /// from whatever thread drops the last reference (thread context). kNoMem: then `release` is not
  /// called.
  using Release = void (*)(void* context, std::span<const std::byte> bytes);
  static Result<RefPtr<Block>> wrap(std::span<const std::byte> bytes, Release release,
                                    void* context);
  ~Block();

  [[nodiscard]] std::byte* data() { return data_; }
  [[nodiscard]] const std::byte* data() const { return data_; }
  [[nodiscard]] size_t capacity() const { return capacity_; }
  /// Has storage of its own, which the allocator may write.
  [[nodiscard]] bool is_own_storage() const { return release_ == nullptr; }

  static void operator delete(void* memory);

 private:
  friend class BlockCache;
  Block(std::byte* data, uint32_t capacity) : data_(data), capacity_(capacity) {}
  static void* operator new(size_t, void* place) { return place; }

  std::byte* data_;
  uint32_t capacity_;
  Release release_ = nullptr;
  void* context_ = nullptr;  // of release_; in a cache, the next block
};
static_assert(sizeof(Block) <= 64);

/// Some blocks of one capacity that are kept for the next who needs one: a queue that fills and
/// empties with every message would go to the page allocator each time. Not synchronised.
class BlockCache {
 public:
  /// Keeps up to `limit` blocks.
  BlockCache(size_t capacity, size_t limit) : capacity_(capacity), limit_(limit) {}
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;
  ~BlockCache();

  /// kNoMem.
  Result<RefPtr<Block>> allocate();
  /// Drops a reference; keeps the block if that was the last one and it fits here.
  void recycle(RefPtr<Block> block);

 private:
  const size_t capacity_, limit_;
  size_t count_ = 0;
  Block* first_ = nullptr;  // each with a reference of ours, linked by context_
};

/// A part of a block.
struct BlockPiece {
  RefPtr<Block> block;
  std::byte* data = nullptr;
  uint32_t length = 0;
  [[nodiscard]] std::span<std::byte> bytes() const { return {data, length}; }
};

/// Bytes in order, in pieces; owns a reference to each block. Not synchronised.
///
/// To send application memory: `allocate(n)` without any lock, fill every piece (which may fault
/// and sleep), `truncate` to what was filled, then hand it to a socket under the stack's lock.
class BlockChain {
 public:
  BlockChain() = default;
  BlockChain(BlockChain&& other) noexcept;
  BlockChain& operator=(BlockChain&& other) noexcept;

  /// Pieces of fresh blocks that hold `size` bytes in all, contents undefined. kNoMem.
  static Result<BlockChain> allocate(size_t size);

  /// kNoMem.
  Result<void> append(BlockPiece piece);
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] size_t piece_count() const { return pieces_.size(); }
  [[nodiscard]] BlockPiece& piece(size_t index) { return pieces_[index]; }
  [[nodiscard]] const BlockPiece& piece(size_t index) const { return pieces_[index]; }
  /// Keeps the first `size` bytes.
  void truncate(size_t size);
  /// Drops the first `count` bytes.
  void consume(size_t count);
  /// Copies the first bytes out; the count copied.
  size_t copy_to(std::span<std::byte> out) const;

 private:
  Ring<BlockPiece, 4> pieces_;
  size_t size_ = 0;
};

}  // namespace aril::net
