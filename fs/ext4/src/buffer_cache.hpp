#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "base/intrusive_list.hpp"
#include "disk.hpp"
#include "kernel/memory/page_allocator.hpp"

namespace aril::ext4 {

/// How a metadata block carries its checksum; it is computed once, when a commit begins.
enum class Seal : uint8_t { kNone, kDirectoryLeaf, kHashRoot, kHashNode, kExtents, kXattrs };

/// One block of metadata in memory. All of it is guarded by the volume's lock.
///
/// A block has up to three versions: what operations see and change, what a commit under way is
/// writing to the journal, and what the journal holds but its home on the disk does not yet. They
/// are one page as long as they are equal: a change copies a page that a later stage still needs.
class Buffer {
 public:
  [[nodiscard]] uint64_t block() const { return block_; }
  [[nodiscard]] const std::byte* data() const { return page_->data(); }
  /// The reader's note that the contents passed their checks.
  bool is_verified = false;
  /// With the inode's checksum seed.
  Seal seal = Seal::kNone;
  uint32_t seal_seed = 0;

 private:
  friend class BufferCache;
  friend class BufferRef;
  friend class Journal;
  /// The journal still needs what is on the page.
  [[nodiscard]] bool is_shared() const {
    return page_.get() == committing_.get() || page_.get() == checkpoint_.get();
  }
  [[nodiscard]] bool is_clean() const {
    return !in_running_ && !committing_ && !checkpoint_ && pins_ == 0;
  }

  uint64_t block_ = 0;
  PageRef page_, committing_, checkpoint_;
  uint32_t pins_ = 0;
  bool in_running_ = false;
  Buffer* next_in_bucket_ = nullptr;
  ListNode age_node_;
  ListNode running_node_;  // also of the committing transaction's list
  ListNode committing_node_;
  ListNode checkpoint_node_;
};

/// Keeps a buffer in the cache. Made and destroyed under the volume's lock.
class BufferRef {
 public:
  BufferRef() = default;
  explicit BufferRef(Buffer& buffer) : buffer_(&buffer) { ++buffer.pins_; }
  BufferRef(BufferRef&& other) noexcept : buffer_(std::exchange(other.buffer_, nullptr)) {}
  BufferRef& operator=(BufferRef other) noexcept {
    std::swap(buffer_, other.buffer_);
    return *this;
  }
  BufferRef(const BufferRef& other) : buffer_(other.buffer_) {
    if (buffer_ != nullptr) ++buffer_->pins_;
  }
  ~BufferRef() {
    if (buffer_ != nullptr) --buffer_->pins_;
  }
  Buffer* operator->() const { return buffer_; }
  Buffer& operator*() const { return *buffer_; }
  explicit operator bool() const { return buffer_ != nullptr; }

 private:
  Buffer* buffer_ = nullptr;
};

/// The metadata blocks in memory: found by block number, clean ones dropped oldest first. Under the
/// volume's lock.
class BufferCache {
 public:
  explicit BufferCache(Disk& disk) : disk_(disk) {}
  ~BufferCache();
  /// kNoMem.
  Result<void> initialize();

  /// The block as it is now, read if need be. kIo, kNoMem.
  Result<BufferRef> get(uint64_t block);
  /// The block without reading it: its contents are about to be made. All zeroes.
  Result<BufferRef> get_fresh(uint64_t block);
  /// The buffer if it is there, else null.
  Buffer* find(uint64_t block);
  /// Reads blocks that will be asked for one by one, in one request. Errors are left to get().
  void read_ahead(uint64_t block, unsigned count);

  /// Frees up to `count` clean buffers; how many it did.
  size_t shrink(size_t count);

 private:
  friend class Journal;
  Result<BufferRef> insert(uint64_t block, PageRef page);
  Buffer*& bucket_of(uint64_t block) {
    // Fibonacci hashing.
    return buckets_[(block * 0x9E3779B97F4A7C15) >> shift_];
  }
  void remove(Buffer& buffer);
  void touch(Buffer& buffer) {
    by_age_.remove(buffer);
    by_age_.push_back(buffer);
  }

  Disk& disk_;
  std::unique_ptr<Buffer*[]> buckets_;
  unsigned shift_ = 64;
  size_t bucket_count_ = 0;
  size_t count_ = 0;
  IntrusiveList<Buffer, &Buffer::age_node_> by_age_;
};

}  // namespace aril::ext4
