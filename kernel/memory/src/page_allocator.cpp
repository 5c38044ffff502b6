#include "kernel/memory/page_allocator.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "arch/cpu.hpp"
#include "arch/page_table.hpp"
#include "base/assert.hpp"
#include "frame_table.hpp"
#include "kernel/log/log.hpp"
#include "kernel/memory/fresh_memory.hpp"
#include "kernel/memory/page_reporting.hpp"
#include "kernel/sync/spin_lock.hpp"

namespace aril::page_allocator {
namespace {

// The order that marks a page in a PerCpuCache: no buddy merges with it.
constexpr uint8_t kCached = 0xff;
// Flags beside those of Page, of free blocks' heads alone: the whole block is zeroes; the host
// knows that it is free (page_reporting.hpp).
constexpr uint8_t kClean = 16, kReported = 32;

/// One CPU's stack of free single pages. Touched by its CPU only, interrupts disabled.
struct PerCpuCache {
  static constexpr unsigned kCapacity = 32;
  static constexpr unsigned kBatch = 16;
  unsigned count = 0;
  Page* pages[kCapacity] = {};
};

constinit SpinLock lock{LockRank::kPageAllocator};
constinit FrameTable frames;
// Heads of the lists of free blocks, linked through Page::link by frame numbers; 0 ends a list, as
// frame 0 is never used.
constinit uint32_t free_lists[kMaxOrder + 1] = {};
// Atomic for readers without the lock only (statistics, the reserve).
constinit std::atomic<size_t> free_count{0};
// Free blocks that take_unreported() would give.
constinit size_t unreported_count = 0;
constinit size_t total_count = 0;
// Kept for callers that cannot reclaim: interrupt handlers, holders of spin locks.
constinit size_t atomic_reserve = 0;
// Kept for those and the kernel's own needs: what application memory may not use.
constinit size_t kernel_reserve = 0;
constinit unsigned cache_capacity = PerCpuCache::kCapacity;
constinit PerCpuCache caches[arch::kMaxCpus] = {};
constinit Page* zero = nullptr;
// Whether memory that was never used is zeroes.
constinit bool starts_zeroed = false;

constexpr size_t kMaxShrinkers = 8;
constinit Shrinker shrinkers[kMaxShrinkers] = {};
constinit std::atomic<size_t> shrinker_count{0};

uint32_t next_of(const Page& page) { return static_cast<uint32_t>(page.link); }
uint32_t previous_of(const Page& page) { return static_cast<uint32_t>(page.link >> 32); }
void set_links(Page& page, uint32_t next, uint32_t previous) {
  page.link = uint64_t{previous} << 32 | next;
}

// Of the flags of a free block's head kClean says whether the whole block is zeroes; frames inside
// a block have none.
bool is_clean(const Page& head) { return (head.flags & kClean) != 0; }

bool is_unreported(const Page& head) {
  return head.order >= kReportedOrder && (head.flags & kReported) == 0;
}

void push_locked(Page& head, unsigned order, uint8_t reported = 0) {
  head.order = static_cast<uint8_t>(order);
  head.flags = static_cast<uint8_t>(Page::kFree | (head.flags & kClean) | reported);
  if (is_unreported(head)) ++unreported_count;
  uint32_t old = free_lists[order];
  set_links(head, old, 0);
  if (old != 0) {
    Page* next = frames.page_of(old);
    set_links(*next, next_of(*next), head.frame_number);
  }
  free_lists[order] = head.frame_number;
}

void unlink_locked(Page& head) {
  if (is_unreported(head)) --unreported_count;
  uint32_t next = next_of(head), previous = previous_of(head);
  if (previous == 0) {
    free_lists[head.order] = next;
  } else {
    Page* page = frames.page_of(previous);
    set_links(*page, next, previous_of(*page));
  }
  if (next != 0) {
    Page* page = frames.page_of(next);
    set_links(*page, next_of(*page), previous);
  }
  head.flags &= kClean;
  head.link = 0;
}

/// Puts a block on the free lists, joined with its buddies as far as they are free. `reported`:
/// kReported or 0.
void merge_locked(Page* head, unsigned order, uint8_t reported = 0) {
  head->flags &= kClean;
  while (order < kMaxOrder) {
    uint64_t frame = head->frame_number;
    uint64_t buddy_frame = frame ^ (uint64_t{1} << order);
    Page* buddy = frames.populated_neighbour(frame, buddy_frame);
    if (buddy == nullptr || (buddy->flags & Page::kFree) == 0 || buddy->order != order) break;
    reported &= buddy->flags;
    unlink_locked(*buddy);
    const auto clean = static_cast<uint8_t>(head->flags & buddy->flags);
    head->flags = buddy->flags = 0;
    if (buddy_frame < frame) head = buddy;
    head->flags = clean;
    ++order;
  }
  push_locked(*head, order, reported);
}

Page* take_block_locked(unsigned order) {
  for (;;) {
    for (unsigned found = order; found <= kMaxOrder; ++found) {
      if (free_lists[found] == 0) continue;
      Page* head = frames.page_of(free_lists[found]);
      uint8_t reported = head->flags & kReported;
      unlink_locked(*head);
      // The upper halves go back, untouched.
      while (found > order) {
        --found;
        Page& half = head[size_t{1} << found];
        half.flags = head->flags;
        push_locked(half, found, reported);
      }
      head->order = static_cast<uint8_t>(order);
      return head;
    }
    auto give = [](Page& page) {
      if (starts_zeroed) page.flags = kClean;
      merge_locked(&page, 0);
    };
    if (!frames.populate_next_block(give)) return nullptr;
  }
}

void push_cached(PerCpuCache& cache, Page& page) {
  page.flags = static_cast<uint8_t>(Page::kFree | (page.flags & kClean));
  page.order = kCached;
  cache.pages[cache.count++] = &page;
}

bool may_reclaim() { return arch::interrupts_enabled() && arch::this_cpu().interrupt_depth == 0; }

/// Returns what this CPU caches to the buddy system, so that blocks can form. The lock is held,
/// hence interrupts are disabled.
void drain_cache_locked() {
  PerCpuCache& cache = caches[arch::cpu_index()];
  while (cache.count != 0) merge_locked(cache.pages[--cache.count], 0);
}

Page* take_single(size_t keep) {
  arch::InterruptGuard guard;
  if (free_count.load(std::memory_order_relaxed) <= keep) return nullptr;
  PerCpuCache& cache = caches[arch::cpu_index()];
  if (cache.count == 0) {
    LockGuard hold(lock);
    while (cache.count < std::min(PerCpuCache::kBatch, cache_capacity)) {
      Page* page = take_block_locked(0);
      if (page == nullptr) break;
      push_cached(cache, *page);
    }
  }
  if (cache.count == 0) return nullptr;
  free_count.fetch_sub(1, std::memory_order_relaxed);
  Page* page = cache.pages[--cache.count];
  page->flags &= kClean;
  page->order = 0;
  return page;
}

Page* take_block(unsigned order, size_t keep) {
  if (order == 0) return take_single(keep);
  size_t count = size_t{1} << order;
  LockGuard hold(lock);
  if (free_count.load(std::memory_order_relaxed) < count + keep) return nullptr;
  Page* head = take_block_locked(order);
  if (head == nullptr) {
    drain_cache_locked();
    head = take_block_locked(order);
  }
  if (head != nullptr) free_count.fetch_sub(count, std::memory_order_relaxed);
  return head;
}

/// For a block that was just taken: it is in use from here on.
void prepare(Page& head, unsigned order, Fill fill) {
  if (fill == Fill::kZero && !is_clean(head)) std::memset(head.data(), 0, kPageSize << order);
  head.flags = 0;
}

/// As take_block; makes room by reclaiming where that is allowed. prepare() must follow.
Page* take_block_hard(unsigned order, Purpose purpose) {
  bool reclaiming = may_reclaim();
  size_t keep = 0;
  if (reclaiming) keep = purpose == Purpose::kApplication ? kernel_reserve : atomic_reserve;
  constexpr unsigned kAttempts = 4;
  for (unsigned attempt = 0;; ++attempt) {
    Page* page = take_block(order, keep);
    if (page != nullptr) return page;
    if (!reclaiming || attempt == kAttempts) return nullptr;
    if (reclaim(std::max(size_t{32}, size_t{1} << order)) == 0) return nullptr;
  }
}

}  // namespace

void expect_zeroed_memory() { starts_zeroed = true; }

void initialize(std::span<const PhysicalRange> usable, std::span<const PhysicalRange> reserved) {
  LockGuard hold(lock);
  frames.initialize(usable, reserved);
  total_count = frames.initially_free();
  free_count.store(total_count, std::memory_order_relaxed);
  atomic_reserve = std::min<size_t>(64, total_count / 128);
  kernel_reserve = atomic_reserve + std::min<size_t>(1024, total_count / 64);
  cache_capacity =
      static_cast<unsigned>(std::clamp<size_t>(total_count / 1024, 1, PerCpuCache::kCapacity));
  zero = take_block_locked(0);
  if (zero == nullptr) panic("no free memory at all; give the machine more (--memory)");
  free_count.fetch_sub(1, std::memory_order_relaxed);
  prepare(*zero, 0, Fill::kZero);
  zero->flags = Page::kPinned;
  zero->references.store(1, std::memory_order_relaxed);
}

Result<PageRef> allocate(Fill fill, Purpose purpose) {
  Page* page = take_block_hard(0, purpose);
  if (page == nullptr) return fail(Errno::kNoMem);
  page->link = 0;
  page->map_count.store(0, std::memory_order_relaxed);
  page->references.store(1, std::memory_order_relaxed);
  prepare(*page, 0, fill);
  return PageRef::adopt(page);
}

Result<Page*> allocate_pages(unsigned order, Fill fill) {
  if (order > kMaxOrder) return fail(Errno::kNoMem);
  Page* head = take_block(order, kernel_reserve);
  if (head == nullptr) return fail(Errno::kNoMem);
  prepare(*head, order, fill);
  for (Page& page : std::span(head, size_t{1} << order)) {
    page.order = 0;
    page.link = 0;
    page.map_count.store(0, std::memory_order_relaxed);
    page.references.store(1, std::memory_order_relaxed);
  }
  return head;
}

Result<PhysicalAddress> allocate_block(unsigned order, Fill fill) {
  if (order > kMaxOrder) return fail(Errno::kNoMem);
  Page* head = take_block_hard(order, Purpose::kKernel);
  if (head == nullptr) return fail(Errno::kNoMem);
  prepare(*head, order, fill);
  return head->physical();
}

void free_block(PhysicalAddress start, unsigned order) {
  Page* head = page_of(start);
  ARIL_ASSERT(head != nullptr && order <= kMaxOrder);
  ARIL_ASSERT(is_aligned(start, kPageSize << order));
  ARIL_ASSERT((head->flags & (Page::kFree | Page::kPinned)) == 0);
  if (order == 0) return free_page(*head);
  LockGuard hold(lock);
  merge_locked(head, order);
  free_count.fetch_add(size_t{1} << order, std::memory_order_relaxed);
}

void free_range(PhysicalAddress start, size_t count) {
  while (count != 0) {
    unsigned order = static_cast<unsigned>(std::countr_zero(start >> kPageShift));
    order = std::min({order, kMaxOrder, static_cast<unsigned>(std::bit_width(count) - 1)});
    free_block(start, order);
    start += kPageSize << order;
    count -= size_t{1} << order;
  }
}

void free_page(Page& page) {
  if (page.is_pinned()) return;
  ARIL_ASSERT((page.flags & Page::kFree) == 0);
  arch::InterruptGuard guard;
  PerCpuCache& cache = caches[arch::cpu_index()];
  if (cache.count >= cache_capacity) {
    LockGuard hold(lock);
    // Half stays, so that a thread that allocates and frees in turn does not come here each time.
    while (cache.count > cache_capacity / 2) merge_locked(cache.pages[--cache.count], 0);
  }
  push_cached(cache, page);
  free_count.fetch_add(1, std::memory_order_relaxed);
}

size_t take_unreported(std::span<FreeBlock> blocks) {
  LockGuard hold(lock);
  size_t count = 0;
  size_t limit = free_count.load(std::memory_order_relaxed) / 4, taken = 0;
  for (unsigned order = kMaxOrder; order >= kReportedOrder; --order) {
    size_t size = size_t{1} << order;
    for (uint32_t frame = free_lists[order]; frame != 0 && unreported_count != 0;) {
      if (count == blocks.size() || taken + size > limit) break;
      Page& head = *frames.page_of(frame);
      frame = next_of(head);
      if (!is_unreported(head)) continue;
      unlink_locked(head);
      taken += size;
      blocks[count++] = {head.physical(), order};
    }
  }
  free_count.fetch_sub(taken, std::memory_order_relaxed);
  return count;
}

void put_back(std::span<const FreeBlock> blocks, Report report) {
  LockGuard hold(lock);
  for (const FreeBlock& block : blocks) {
    merge_locked(page_of(block.start), block.order, report == Report::kDone ? kReported : 0);
    free_count.fetch_add(size_t{1} << block.order, std::memory_order_relaxed);
  }
}

Page* page_of(PhysicalAddress address) { return frames.page_of(address >> kPageShift); }

Page& zero_page() { return *zero; }

void add_shrinker(Shrinker shrinker) {
  size_t index = shrinker_count.load(std::memory_order_relaxed);
  ARIL_ASSERT(index < kMaxShrinkers);
  shrinkers[index] = shrinker;
  // Release: a reader of the count sees the entry.
  shrinker_count.store(index + 1, std::memory_order_release);
}

size_t reclaim(size_t pages) {
  size_t freed = 0;
  size_t count = shrinker_count.load(std::memory_order_acquire);
  for (size_t i = 0; i < count && freed < pages; ++i) freed += shrinkers[i](pages - freed);
  return freed;
}

Statistics statistics() {
  return {.total_pages = total_count,
          .free_pages = free_count.load(std::memory_order_relaxed),
          .pinned_pages = static_cast<size_t>(frames.pinned())};
}

}  // namespace aril::page_allocator

namespace aril::arch {

Result<PhysicalAddress> allocate_table_page() {
  return page_allocator::allocate_block(0, page_allocator::Fill::kZero);
}

void free_table_page(PhysicalAddress page) { page_allocator::free_block(page, 0); }

}  // namespace aril::arch
