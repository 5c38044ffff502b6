#include "net/buffer/block.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>

#include "net/buffer/packet.hpp"

namespace aril::net {

Result<RefPtr<Block>> Block::allocate(size_t capacity) {
  void* memory = ::operator new(sizeof(Block) + capacity, std::nothrow);
  if (memory == nullptr) return fail(Errno::kNoMem);
  // The storage follows the object in the same allocation.
  auto* storage = static_cast<std::byte*>(memory) + sizeof(Block);
  return adopt_ref(new (memory) Block(storage, static_cast<uint32_t>(capacity)));
}

Result<RefPtr<Block>> Block::wrap(std::span<const std::byte> bytes, Release release,
                                  void* context) {
  void* memory = ::operator new(sizeof(Block), std::nothrow);
  if (memory == nullptr) return fail(Errno::kNoMem);
  // Lent bytes are never written: is_own_storage() guards every writer.
  auto* data = const_cast<std::byte*>(bytes.data());
  auto* block = new (memory) Block(data, static_cast<uint32_t>(bytes.size()));
  block->release_ = release;
  block->context_ = context;
  return adopt_ref(block);
}

Block::~Block() {
  if (release_ != nullptr) release_(context_, {data_, capacity_});
}

void Block::operator delete(void* memory) { ::operator delete(memory); }

BlockCache::~BlockCache() {
  while (Block* block = first_) {
    first_ = static_cast<Block*>(std::exchange(block->context_, nullptr));
    RefPtr<Block>::adopt(block).reset();
  }
}

Result<RefPtr<Block>> BlockCache::allocate() {
  Block* block = first_;
  if (block == nullptr) return Block::allocate(capacity_);
  first_ = static_cast<Block*>(std::exchange(block->context_, nullptr));
  --count_;
  return RefPtr<Block>::adopt(block);
}

void BlockCache::recycle(RefPtr<Block> block) {
  // Nobody adds a reference to a block of which we have the only one.
  if (count_ == limit_ || block->ref_count() != 1 || block->capacity_ != capacity_ ||
      !block->is_own_storage())
    return;
  // Acquire: whoever dropped the reference before was done with the bytes.
  std::atomic_thread_fence(std::memory_order_acquire);
  block->context_ = first_;
  first_ = block.leak();
  ++count_;
}

BlockChain::BlockChain(BlockChain&& other) noexcept
    : pieces_(std::move(other.pieces_)), size_(std::exchange(other.size_, 0)) {}

BlockChain& BlockChain::operator=(BlockChain&& other) noexcept {
  pieces_ = std::move(other.pieces_);
  size_ = std::exchange(other.size_, 0);
  return *this;
}

Result<BlockChain> BlockChain::allocate(size_t size) {
  BlockChain chain;
  while (chain.size_ < size) {
    RefPtr<Block> block = ARIL_TRY(Block::allocate());
    std::byte* data = block->data();
    auto length = static_cast<uint32_t>(std::min(size - chain.size_, Block::kCapacity));
    ARIL_TRY(chain.append({std::move(block), data, length}));
  }
  return chain;
}

Result<void> BlockChain::append(BlockPiece piece) {
  uint32_t length = piece.length;
  ARIL_TRY(pieces_.push_back(std::move(piece)));
  size_ += length;
  return {};
}

void BlockChain::truncate(size_t size) {
  while (size_ > size) {
    BlockPiece& last = pieces_.back();
    size_t excess = size_ - size;
    if (excess < last.length) {
      last.length -= static_cast<uint32_t>(excess);
      size_ = size;
      return;
    }
    size_ -= last.length;
    pieces_.pop_back();
  }
}

void BlockChain::consume(size_t count) {
  ARIL_ASSERT(count <= size_);
  size_ -= count;
  while (count > 0) {
    BlockPiece& first = pieces_.front();
    if (count < first.length) {
      first.data += count;
      first.length -= static_cast<uint32_t>(count);
      return;
    }
    count -= first.length;
    pieces_.pop_front();
  }
}

size_t BlockChain::copy_to(std::span<std::byte> out) const {
  size_t copied = 0;
  for (size_t i = 0; i < pieces_.size() && copied < out.size(); ++i) {
    size_t count = std::min<size_t>(pieces_[i].length, out.size() - copied);
    std::memcpy(out.data() + copied, pieces_[i].data, count);
    copied += count;
  }
  return copied;
}

Result<std::unique_ptr<Packet>> Packet::allocate(size_t size) {
  void* memory = ::operator new(sizeof(Packet) + size, std::nothrow);
  if (memory == nullptr) return fail(Errno::kNoMem);
  return std::unique_ptr<Packet>(new (memory) Packet(size));
}

Result<std::unique_ptr<Packet>> Packet::copy_of(std::span<const std::byte> bytes) {
  auto packet = ARIL_TRY(allocate(bytes.size()));
  if (!bytes.empty()) std::memcpy(packet->bytes().data(), bytes.data(), bytes.size());
  return packet;
}

void Packet::operator delete(void* memory) { ::operator delete(memory); }

}  // namespace aril::net
