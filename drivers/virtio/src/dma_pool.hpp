#pragma once
#include <cstddef>

#include "base/result.hpp"
#include "kernel/memory/page_allocator.hpp"

namespace aril::virtio {

/// Memory that a device reads or writes, contiguous and zeroed: from the heap when it is little,
/// else whole pages. Freed with its owner, so only after the device was reset.
class DmaBlock {
 public:
  /// Of memory from the heap; whole pages are aligned to their size.
  static constexpr size_t kAlignment = 64;

  DmaBlock() = default;
  ~DmaBlock();
  DmaBlock(const DmaBlock&) = delete;
  DmaBlock& operator=(const DmaBlock&) = delete;

  /// Once. kNoMem.
  Result<void> allocate(size_t size);
  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] PhysicalAddress physical() const { return arch::virtual_to_physical(data_); }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

/// A DmaBlock that is cut into equal buffers.
class DmaPool {
 public:
  /// Once. `buffer_size` divides a page or is a multiple of one, so that no buffer of less than a
  /// page lies across two. kNoMem.
  Result<void> allocate(unsigned count, size_t buffer_size);
  [[nodiscard]] std::byte* data(unsigned index) const {
    return block_.data() + index * buffer_size_;
  }
  [[nodiscard]] PhysicalAddress physical(unsigned index) const {
    return block_.physical() + index * buffer_size_;
  }
  [[nodiscard]] size_t buffer_size() const { return buffer_size_; }

 private:
  DmaBlock block_;
  size_t buffer_size_ = 0;
};

}  // namespace aril::virtio
