#include <cstddef>
#include <new>

#include "kernel/log/log.hpp"
#include "kernel/memory/heap.hpp"
#include "kernel/memory/page_allocator.hpp"

// The kernel's global operator new and delete.
namespace {

constexpr size_t kDefaultAlignment = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

void* allocate_or_panic(size_t size, size_t alignment) {
  void* block = aril::heap::allocate(size, alignment);
  if (block == nullptr) [[unlikely]] {
    aril::page_allocator::Statistics memory = aril::page_allocator::statistics();
    aril::panic(
        "out of kernel memory: %zu bytes wanted, %zu KiB of %zu KiB free; give the machine "
        "more (--memory)",
        size, memory.free_pages * 4, memory.total_pages * 4);
  }
  return block;
}

}  // namespace

void* operator new(size_t size) { return allocate_or_panic(size, kDefaultAlignment); }
void* operator new[](size_t size) { return allocate_or_panic(size, kDefaultAlignment); }
void* operator new(size_t size, std::align_val_t alignment) {
  return allocate_or_panic(size, static_cast<size_t>(alignment));
}
void* operator new[](size_t size, std::align_val_t alignment) {
  return allocate_or_panic(size, static_cast<size_t>(alignment));
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return aril::heap::allocate(size, kDefaultAlignment);
}
void* operator new[](size_t size, const std::nothrow_t&) noexcept {
  return aril::heap::allocate(size, kDefaultAlignment);
}
void* operator new(size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return aril::heap::allocate(size, static_cast<size_t>(alignment));
}
void* operator new[](size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return aril::heap::allocate(size, static_cast<size_t>(alignment));
}

void operator delete(void* block) noexcept { aril::heap::free(block); }
void operator delete[](void* block) noexcept { aril::heap::free(block); }
void operator delete(void* block, size_t) noexcept { aril::heap::free(block); }
void operator delete[](void* block, size_t) noexcept { aril::heap::free(block); }
void operator delete(void* block, std::align_val_t) noexcept { aril::heap::free(block); }
void operator delete[](void* block, std::align_val_t) noexcept { aril::heap::free(block); }
void operator delete(void* block, size_t, std::align_val_t) noexcept { aril::heap::free(block); }
void operator delete[](void* block, size_t, std::align_val_t) noexcept { aril::heap::free(block); }
void operator delete(void* block, const std::nothrow_t&) noexcept { aril::heap::free(block); }
void operator delete[](void* block, const std::nothrow_t&) noexcept { aril::heap::free(block); }
void operator delete(void* block, std::align_val_t, const std::nothrow_t&) noexcept {
  aril::heap::free(block);
}
void operator delete[](void* block, std::align_val_t, const std::nothrow_t&) noexcept {
  aril::heap::free(block);
}
