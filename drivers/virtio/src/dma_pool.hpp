#pragma once
#include <cstddef>

#include "base/result.hpp"
#include "kernel/memory/page_allocator.hpp"

namespace aril::virtio {

/// A block of pages from the page allocator, cut into equal buffers that a device reads or writes.
/// Freed with its owner, so only after the device was reset.
class DmaPool {
 public:
  DmaPool() = default;
  ~DmaPool();
  DmaPool(const DmaPool&) = delete;
  DmaPool& operator=(const DmaPool&) = delete;

  /// Once. `buffer_size` divides a page or is a multiple of one. kNoMem.
  Result<void> allocate(unsigned count, size_t buffer_size);
  [[nodiscard]] std::byte* data(unsigned index) const { return data_ + index * buffer_size_; }
  [[nodiscard]] PhysicalAddress physical(unsigned index) const {
    return start_ + index * buffer_size_;
  }
  [[nodiscard]] size_t buffer_size() const { return buffer_size_; }

 private:
  PhysicalAddress start_ = 0;
  unsigned order_ = 0;
  std::byte* data_ = nullptr;
  size_t buffer_size_ = 0;
};

}  // namespace aril::virtio
