#include "dma_pool.hpp"

#include <bit>
#include <cstring>

#include "kernel/memory/heap.hpp"

namespace aril::virtio {
namespace {

/// What the heap keeps in one page with others.
constexpr size_t kLargestFromHeap = 2048;

unsigned order_of(size_t size) {
  return static_cast<unsigned>(std::bit_width((size - 1) >> kPageShift));
}

}  // namespace

DmaBlock::~DmaBlock() {
  if (data_ == nullptr) return;
  if (size_ <= kLargestFromHeap) {
    heap::free(data_);
  } else {
    page_allocator::free_block(physical(), order_of(size_));
  }
}

Result<void> DmaBlock::allocate(size_t size) {
  size_ = size;
  if (size <= kLargestFromHeap) {
    data_ = static_cast<std::byte*>(heap::allocate(size, kAlignment));
    if (data_ == nullptr) return fail(Errno::kNoMem);
    std::memset(data_, 0, size);
    return {};
  }
  auto start =
      ARIL_TRY(page_allocator::allocate_block(order_of(size), page_allocator::Fill::kZero));
  data_ = arch::physical_to_virtual(start);
  return {};
}

Result<void> DmaPool::allocate(unsigned count, size_t buffer_size) {
  buffer_size_ = buffer_size;
  return block_.allocate(count * buffer_size);
}

}  // namespace aril::virtio
