#include "kernel/memory/heap.hpp"

#include "slab_heap.hpp"

namespace aril::heap {
namespace {
constinit SlabHeap kernel_heap;
}

void* allocate(size_t size, size_t alignment) { return kernel_heap.allocate(size, alignment); }
void free(void* block) { kernel_heap.free(block); }
size_t bytes_in_use() { return kernel_heap.bytes_in_use(); }

}  // namespace aril::heap
