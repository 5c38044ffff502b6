#include "dma_pool.hpp"

#include <bit>

namespace aril::virtio {

DmaPool::~DmaPool() {
  if (data_ != nullptr) page_allocator::free_block(start_, order_);
}

Result<void> DmaPool::allocate(unsigned count, size_t buffer_size) {
  order_ = static_cast<unsigned>(std::bit_width((count * buffer_size - 1) >> kPageShift));
  start_ = ARIL_TRY(page_allocator::allocate_block(order_));
  data_ = arch::physical_to_virtual(start_);
  buffer_size_ = buffer_size;
  return {};
}

}  // namespace aril::virtio
