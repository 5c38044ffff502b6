#include "slab_heap.hpp"

#include <algorithm>
#include <bit>

#include "base/assert.hpp"
#include "kernel/memory/page_allocator.hpp"

namespace aril {
namespace {

/// A slab's state, kept in its page's map_count, which nothing else uses meanwhile. Changed under
/// the size class's lock.
struct SlabState {
  uint16_t free_head;  ///< index + 1 of the first free block; 0: none
  uint16_t in_use;
};

SlabState load_state(const Page& page) {
  return std::bit_cast<SlabState>(page.map_count.load(std::memory_order_relaxed));
}
void store_state(Page& page, SlabState state) {
  page.map_count.store(std::bit_cast<uint32_t>(state), std::memory_order_relaxed);
}

// A free block's first two bytes hold the next one's index + 1.
uint16_t& next_free(Page& page, size_t size, size_t index) {
  return *reinterpret_cast<uint16_t*>(page.data() + size * index);
}

}  // namespace

size_t SlabHeap::class_for(size_t size, size_t alignment) {
  if (size > kSizes.back()) return kSizes.size();
  // The class of each size, in steps of the smallest; every class is a multiple of it.
  static constexpr auto kClasses = [] {
    std::array<uint8_t, kSizes.back() / kSizes.front() + 1> classes{};
    size_t found = 0;
    for (size_t step = 0; step < classes.size(); ++step) {
      while (kSizes[found] < step * kSizes.front()) ++found;
      classes[step] = static_cast<uint8_t>(found);
    }
    return classes;
  }();
  size_t index = kClasses[(size + kSizes.front() - 1) / kSizes.front()];
  // Blocks lie at multiples of their size in a page.
  while (index < kSizes.size() && !is_aligned(size_t{kSizes[index]}, alignment)) ++index;
  return index;
}

void* SlabHeap::allocate(size_t size, size_t alignment) {
  ARIL_ASSERT(std::has_single_bit(alignment));
  size_t class_index = class_for(std::max(size, size_t{1}), alignment);
  return class_index < kSizes.size() ? allocate_small(class_index)
                                     : allocate_pages(size, alignment);
}

void SlabHeap::link_locked(SizeClass& size_class, Page& page) {
  uint32_t next = size_class.partial;
  page.link = next;
  if (next != 0) {
    Page* other = page_allocator::page_of(PhysicalAddress{next} << kPageShift);
    other->link = uint64_t{page.frame_number} << 32 | static_cast<uint32_t>(other->link);
  }
  size_class.partial = page.frame_number;
}

void SlabHeap::unlink_locked(SizeClass& size_class, Page& page) {
  auto next = static_cast<uint32_t>(page.link);
  auto previous = static_cast<uint32_t>(page.link >> 32);
  if (previous == 0) {
    size_class.partial = next;
  } else {
    Page* other = page_allocator::page_of(PhysicalAddress{previous} << kPageShift);
    other->link = (other->link & ~uint64_t{0xffffffff}) | next;
  }
  if (next != 0) {
    Page* other = page_allocator::page_of(PhysicalAddress{next} << kPageShift);
    other->link = uint64_t{previous} << 32 | static_cast<uint32_t>(other->link);
  }
  page.link = 0;
}

Page* SlabHeap::make_slab(size_t class_index) {
  Result<PageRef> fresh = page_allocator::allocate(page_allocator::Fill::kNone);
  if (!fresh) return nullptr;
  Page* page = fresh->leak();
  page->flags = Page::kSlab;
  page->size_class = static_cast<uint16_t>(class_index);
  size_t size = kSizes[class_index], count = kPageSize / size;
  for (size_t i = 0; i < count; ++i)
    next_free(*page, size, i) = static_cast<uint16_t>(i + 1 < count ? i + 2 : 0);
  store_state(*page, {.free_head = 1, .in_use = 0});
  return page;
}

void* SlabHeap::allocate_small(size_t class_index) {
  SizeClass& size_class = classes_[class_index];
  size_t size = kSizes[class_index];
  Page* fresh = nullptr;
  for (;;) {
    {
      LockGuard hold(size_class.lock);
      if (fresh != nullptr) {
        link_locked(size_class, *fresh);
        ++size_class.empty;
      }
      if (size_class.partial != 0) {
        Page* page = page_allocator::page_of(PhysicalAddress{size_class.partial} << kPageShift);
        SlabState state = load_state(*page);
        ARIL_ASSERT(state.free_head != 0 && state.free_head <= kBlocksPerPage[class_index]);
        size_t index = state.free_head - 1u;
        if (state.in_use++ == 0) --size_class.empty;
        state.free_head = next_free(*page, size, index);
        store_state(*page, state);
        if (state.free_head == 0) unlink_locked(size_class, *page);
        bytes_in_use_.fetch_add(size, std::memory_order_relaxed);
        return page->data() + index * size;
      }
    }
    // Without the lock, so that the page allocator may reclaim.
    fresh = make_slab(class_index);
    if (fresh == nullptr) return nullptr;
  }
}

void SlabHeap::free_small(Page& page, void* block) {
  SizeClass& size_class = classes_[page.size_class];
  size_t size = kSizes[page.size_class];
  auto offset = static_cast<size_t>(static_cast<std::byte*>(block) - page.data());
  // Not by division, which would cost as much as all the rest.
  size_t index = offset * kReciprocals[page.size_class] >> kReciprocalShift;
  ARIL_ASSERT(index * size == offset);
  bytes_in_use_.fetch_sub(size, std::memory_order_relaxed);
  {
    LockGuard hold(size_class.lock);
    SlabState state = load_state(page);
    ARIL_ASSERT(state.in_use != 0);
    // Freed twice in a row, the commonest double free.
    ARIL_ASSERT(state.free_head != index + 1);
    if (state.free_head == 0) link_locked(size_class, page);
    next_free(page, size, index) = state.free_head;
    state.free_head = static_cast<uint16_t>(index + 1);
    --state.in_use;
    store_state(page, state);
    if (state.in_use != 0) return;
    // One empty slab stays, for a caller that allocates and frees in turn.
    if (++size_class.empty == 1) return;
    --size_class.empty;
    unlink_locked(size_class, page);
  }
  page.map_count.store(0, std::memory_order_relaxed);
  page.flags = 0;
  PageRef::adopt(&page).reset();
}

void* SlabHeap::allocate_pages(size_t size, size_t alignment) {
  if (size > kPageSize << page_allocator::kMaxOrder) return nullptr;
  size_t count = align_up(size, kPageSize) >> kPageShift;
  // A buddy block is aligned to its size.
  size_t frames = std::max(std::bit_ceil(count), alignment >> kPageShift);
  auto order = static_cast<unsigned>(std::countr_zero(frames));
  Result<PhysicalAddress> start = page_allocator::allocate_block(order);
  if (!start) return nullptr;
  if (frames > count) page_allocator::free_range(*start + (count << kPageShift), frames - count);
  Page* head = page_allocator::page_of(*start);
  head->flags = Page::kHeapBlock;
  head->link = count;
  bytes_in_use_.fetch_add(count << kPageShift, std::memory_order_relaxed);
  return head->data();
}

void SlabHeap::free_pages(Page& head) {
  size_t count = head.link;
  bytes_in_use_.fetch_sub(count << kPageShift, std::memory_order_relaxed);
  head.flags = 0;
  head.link = 0;
  page_allocator::free_range(head.physical(), count);
}

void SlabHeap::free(void* block) {
  if (block == nullptr) return;
  Page* page = page_allocator::page_of(arch::virtual_to_physical(block));
  ARIL_ASSERT(page != nullptr);
  if ((page->flags & Page::kSlab) != 0) return free_small(*page, block);
  ARIL_ASSERT((page->flags & Page::kHeapBlock) != 0 && page->data() == block);
  free_pages(*page);
}

size_t SlabHeap::usable_size(const void* block) {
  const Page* page = page_allocator::page_of(arch::virtual_to_physical(block));
  if ((page->flags & Page::kSlab) != 0) return kSizes[page->size_class];
  return page->link << kPageShift;
}

}  // namespace aril
