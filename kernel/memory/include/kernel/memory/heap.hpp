#pragma once
#include <cstddef>

namespace aril::heap {

/// The kernel heap: slabs by size class over the page allocator. operator new and delete use it;
/// plain `new` panics with "out of kernel memory" (and the --memory hint) where new(nothrow)
/// returns null. At most 4 MiB at once. Any context that may take a spin lock.
void* allocate(size_t size, size_t alignment);
void free(void* block);
[[nodiscard]] size_t bytes_in_use();

/// Maps `size` bytes of fresh pages in the kernel map with an unmapped guard page below: kernel
/// stacks. Null when memory is short. Any context: freed stacks are kept for the next thread, and
/// returned to the page allocator in thread context only.
std::byte* allocate_guarded_stack(size_t size);
void free_guarded_stack(std::byte* bottom, size_t size);

/// Maps a device's registers uncached; never unmapped. Null when the kernel map is full.
std::byte* map_device(unsigned long physical, size_t size);

}  // namespace aril::heap
