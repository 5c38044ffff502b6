#include <algorithm>
#include <cstring>

#include "address_space_state.hpp"
#include "base/assert.hpp"

// Pages under regions: every page-table entry holds one reference to its page, and counts in
// Page::map_count; the zero page's are not counted.
namespace aril {

namespace {

bool is_zero_page(const Page& page) { return &page == &page_allocator::zero_page(); }

Page& page_at(PhysicalAddress physical) {
  Page* page = page_allocator::page_of(physical);
  // Only pages of the frame table are ever mapped in the lower half.
  ARIL_ASSERT(page != nullptr);
  return *page;
}

}  // namespace

void ReleasedPages::add(uint64_t address, Page& page) {
  start_ = std::min(start_, address);
  end_ = std::max(end_, address + kPageSize);
  if (!is_zero_page(page)) pages_[count_++] = &page;
  if (count_ == kCapacity) flush();
}

void ReleasedPages::flush() {
  if (start_ >= end_) return;
  table_.flush(start_, end_);
  for (Page* page : std::span(pages_).first(count_)) {
    page->map_count.fetch_sub(1, std::memory_order_relaxed);
    PageRef::adopt(page).reset();
  }
  count_ = 0;
  start_ = ~uint64_t{0};
  end_ = 0;
}

/// Maps a page where none is mapped. Takes over the reference.
Result<void> AddressSpace::Implementation::map_page_locked(uint64_t address, PageRef page,
                                                           arch::PageFlags flags) {
  ARIL_TRY(table.map(address, page->physical(), flags));
  if (is_zero_page(*page)) return {};
  page->map_count.fetch_add(1, std::memory_order_relaxed);
  // From here on the page-table entry holds the reference.
  (void)page.leak();
  peak_resident_pages = std::max(peak_resident_pages, ++resident_pages);
  return {};
}

/// Maps 2 MiB of zeroes where nothing is mapped: one entry in the page table, and 512 pages that it
/// holds one by one. False when there is no block of that size.
bool AddressSpace::Implementation::map_large_page_locked(uint64_t address, arch::PageFlags flags) {
  Result<Page*> pages =
      page_allocator::allocate_pages(kLargePageOrder, page_allocator::Fill::kZero);
  if (!pages) return false;
  std::span all(*pages, size_t{1} << kLargePageOrder);
  if (!table.map_large(address, all[0].physical(), flags)) {
    for (Page& page : all) PageRef::adopt(&page).reset();
    return false;
  }
  for (Page& page : all) page.map_count.store(1, std::memory_order_relaxed);
  resident_pages += all.size();
  peak_resident_pages = std::max(peak_resident_pages, resident_pages);
  return true;
}

/// A large page starts at `at` and ends by `end`.
bool AddressSpace::Implementation::is_whole_large_page_locked(uint64_t at, uint64_t end) const {
  return is_aligned(at, arch::kLargePageSize) && end - at >= arch::kLargePageSize &&
         table.is_large(at);
}

/// Maps a page in place of another. The table exists, so this does not fail for want of memory.
Result<void> AddressSpace::Implementation::replace_page_locked(uint64_t address, PageRef page,
                                                               arch::PageFlags flags) {
  ReleasedPages released(table);
  unmap_for_others_locked(address, address + kPageSize, released);
  return map_page_locked(address, std::move(page), flags);
}

void AddressSpace::Implementation::zap_locked(uint64_t start, uint64_t end) {
  ReleasedPages released(table);
  unmap_pages_locked(start, end, released);
}

/// As unmap_pages_locked where other pages are about to be mapped. No CPU may see one of them, and
/// write to it, while another still sees what was there: unless software shows them to all at once,
/// which is done by the flush that comes when they are mapped.
void AddressSpace::Implementation::unmap_for_others_locked(uint64_t start, uint64_t end,
                                                           ReleasedPages& released) {
  unmap_pages_locked(start, end, released);
  if constexpr (arch::kCpusWalkPageTables) released.flush();
}

void AddressSpace::Implementation::unmap_pages_locked(uint64_t start, uint64_t end,
                                                      ReleasedPages& released) {
  for (uint64_t at = table.next_present(start, end); at < end;
       at = table.next_present(at + kPageSize, end)) {
    if (is_whole_large_page_locked(at, end)) {
      PhysicalAddress physical = table.unmap_large(at);
      uint64_t last = at + arch::kLargePageSize - kPageSize;
      for (;; at += kPageSize, physical += kPageSize) {
        --resident_pages;
        released.add(at, page_at(physical));
        if (at == last) break;
      }
      continue;
    }
    std::optional<arch::Translation> old = table.unmap(at);
    Page& page = page_at(old->physical);
    if (!is_zero_page(page)) --resident_pages;
    released.add(at, page);
  }
}

/// Makes the entries of a region fit its protection. Permission to write is only ever given to
/// pages that may be written without further ado; the others get it by a fault.
void AddressSpace::Implementation::protect_pages_locked(const Region& region) {
  using arch::PageFlags;
  uint64_t first = region.end, last = region.start;
  for (uint64_t at = table.next_present(region.start, region.end); at < region.end;
       at = table.next_present(at + kPageSize, region.end)) {
    arch::Translation old = *table.query(at);
    PageFlags flags = page_flags(region.protection);
    if (has(flags, PageFlags::kWrite) && !has(old.flags, PageFlags::kWrite)) {
      bool may_write = region.sharing == Sharing::kPrivate ? is_exclusive(page_at(old.physical))
                                                           : !region.object->tracks_writes();
      if (!may_write) flags &= ~PageFlags::kWrite;
    }
    // Of a large page that loses rights and gains none no part needs a look of its own.
    uint64_t size = kPageSize;
    if ((flags & ~old.flags) == PageFlags::kNone && is_whole_large_page_locked(at, region.end))
      size = arch::kLargePageSize;
    if (flags != old.flags) {
      size == kPageSize ? table.protect(at, flags) : table.protect_large(at, flags);
      if ((flags & old.flags) != old.flags) {
        first = std::min(first, at);
        last = at + size;
      }
    }
    at += size - kPageSize;
  }
  if (first < last) table.flush(first, last);
}

void AddressSpace::Implementation::write_protect_pages_locked(uint64_t start, uint64_t end) {
  using arch::PageFlags;
  uint64_t first = end, last = start;
  for (uint64_t at = table.next_present(start, end); at < end;
       at = table.next_present(at + kPageSize, end)) {
    PageFlags flags = table.query(at)->flags;
    if (!has(flags, PageFlags::kWrite)) continue;
    table.protect(at, flags & ~PageFlags::kWrite);
    first = std::min(first, at);
    last = at + kPageSize;
  }
  if (first < last) table.flush(first, last);
}

/// Moves what is mapped in [from, from + length) to `to`, where nothing is. On kNoMem nothing has
/// moved.
Result<void> AddressSpace::Implementation::move_pages_locked(uint64_t from, uint64_t to,
                                                             uint64_t length) {
  uint64_t end = from + length, at = table.next_present(from, end);
  Result<void> result;
  // Both addresses lead to the page for a moment; the regions are not changed until all is done.
  for (; at < end; at = table.next_present(at + kPageSize, end)) {
    arch::Translation page = *table.query(at);
    result = table.map(at - from + to, page.physical, page.flags);
    if (!result) break;
  }
  uint64_t undone = result ? from : to;
  uint64_t undone_end = undone + (at - from);
  if (result) undone_end = end;
  bool any = false;
  for (at = table.next_present(undone, undone_end); at < undone_end;
       at = table.next_present(at + kPageSize, undone_end)) {
    table.unmap(at);
    any = true;
  }
  if (any) table.flush(undone, undone_end);
  return result;
}

/// Gives `child` the pages of a private region, for reading: the first to write gets a copy.
Result<void> AddressSpace::Implementation::copy_pages_locked(Implementation& child,
                                                             const Region& region,
                                                             bool& write_protected) {
  using arch::PageFlags;
  for (uint64_t at = table.next_present(region.start, region.end); at < region.end;
       at = table.next_present(at + kPageSize, region.end)) {
    arch::Translation old = *table.query(at);
    PageFlags flags = old.flags & ~PageFlags::kWrite;
    ARIL_TRY(child.map_page_locked(at, PageRef::share(&page_at(old.physical)), flags));
    if (flags == old.flags) continue;
    table.protect(at, flags);
    write_protected = true;
  }
  return {};
}

/// Calls act(start, end) for the part of each region that shows pages [first, first + count).
template <typename Act>
void AddressSpace::Implementation::for_each_part_locked(const MemoryObject& object, uint64_t first,
                                                        uint64_t count, Act act) {
  for (const Region* region : regions.all()) {
    if (region->object != &object) continue;
    uint64_t region_first = region->offset >> kPageShift;
    uint64_t region_end = region_first + (region->length() >> kPageShift);
    uint64_t low = std::max(first, region_first), high = std::min(first + count, region_end);
    if (low >= high) continue;
    act(region->start + ((low - region_first) << kPageShift),
        region->start + ((high - region_first) << kPageShift));
  }
}

void AddressSpace::unmap_object(const MemoryObject& object, uint64_t first, uint64_t count) {
  Implementation& state = *implementation_;
  LockGuard hold(state.mutex);
  ++state.object_changes;
  state.for_each_part_locked(object, first, count,
                             [&](uint64_t start, uint64_t end) { state.zap_locked(start, end); });
}

void AddressSpace::try_unmap_object(const MemoryObject& object, uint64_t first, uint64_t count) {
  Implementation& state = *implementation_;
  if (!state.mutex.try_lock()) return;
  // Private copies are the application's data: only the object's own pages can be fetched again.
  state.for_each_part_locked(object, first, count, [&](uint64_t start, uint64_t end) {
    for (uint64_t at = state.table.next_present(start, end); at < end;
         at = state.table.next_present(at + kPageSize, end)) {
      if (is_exclusive(page_at(state.table.query(at)->physical))) continue;
      state.zap_locked(at, at + kPageSize);
    }
  });
  state.mutex.unlock();
}

void AddressSpace::write_protect_object(const MemoryObject& object, uint64_t first,
                                        uint64_t count) {
  Implementation& state = *implementation_;
  LockGuard hold(state.mutex);
  ++state.object_changes;
  state.for_each_part_locked(object, first, count, [&](uint64_t start, uint64_t end) {
    state.write_protect_pages_locked(start, end);
  });
}

}  // namespace aril
