#include <algorithm>
#include <cstdlib>

#include "base/units.hpp"
#include "kernel/memory/heap.hpp"

// In unit tests the host's allocator serves the heap, so that AddressSanitizer sees every block.
namespace aril::heap {

void* allocate(size_t size, size_t alignment) {
  alignment = std::max(alignment, alignof(std::max_align_t));
  return std::aligned_alloc(alignment, align_up(std::max(size, size_t{1}), alignment));
}
void free(void* block) { std::free(block); }
size_t bytes_in_use() { return 0; }

}  // namespace aril::heap
