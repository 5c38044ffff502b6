#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>

#include "address_space_state.hpp"

// Faults that get more pages than the one that was touched.
namespace aril {
namespace {

constexpr uint64_t kMostSkipped = 16 * kPageSize;

/// Whether a fault may take more than it needs.
bool has_memory_to_spare() {
  page_allocator::Statistics memory = page_allocator::statistics();
  return memory.free_pages > memory.total_pages / 4;
}

}  // namespace

/// Whether the write to `address` is to get the 2 MiB around it at once. Unless it was asked for,
/// only where the program is filling memory from below, page after page, so that little of it stays
/// unused, and where there is memory to spare.
bool AddressSpace::Implementation::suits_large_page_locked(const Region& region,
                                                           uint64_t address) const {
  using enum Region::LargePages;
  uint64_t start = align_down(address, arch::kLargePageSize);
  uint64_t end = start + arch::kLargePageSize;
  if (region.large_pages == kNever || region.grows_down || start < region.start || end > region.end)
    return false;
  if (region.large_pages == kChoose &&
      (address != start || start == region.start || !table.query(start - kPageSize)))
    return false;
  return has_memory_to_spare() && table.next_present(start, end) == end;
}

/// What is not mapped around `address`, within the aligned block of 2^order pages and the region.
auto AddressSpace::Implementation::empty_run_locked(const Region& region, uint64_t address,
                                                    unsigned order) const -> Run {
  uint64_t size = kPageSize << order;
  uint64_t floor = std::max(align_down(address, size), region.start);
  uint64_t ceiling = std::min(align_down(address, size) + size, region.end);
  Run run{address, table.next_present(address, ceiling)};
  while (run.start > floor && !table.query(run.start - kPageSize)) run.start -= kPageSize;
  return run;
}

/// Whether memory is being filled page after page, upwards or downwards, and has come to `run`: at
/// least half as much as that is mapped next to it.
bool AddressSpace::Implementation::is_filled_up_to_locked(const Region& region, uint64_t address,
                                                          const Run& run) const {
  uint64_t length = run.end - run.start;
  uint64_t half = align_up(length / 2, kPageSize);
  auto is_mapped = [&](uint64_t at) {
    return at >= region.start && at < region.end && table.query(at).has_value();
  };
  if (address - run.start <= length / 4 && is_mapped(run.start - kPageSize) &&
      is_mapped(run.start - half))
    return true;
  return run.end - kPageSize - address <= length / 4 && is_mapped(run.end) &&
         is_mapped(run.end + half - kPageSize);
}

/// What is missing from `address` upwards, where memory is being filled that way: at most twice as
/// much as is mapped below, wherever it begins, up to where a large page may begin. One page where
/// it is not.
auto AddressSpace::Implementation::upward_run_locked(const Region& region, uint64_t address) const
    -> Run {
  uint64_t limit = std::min({address + (kPageSize << fault_order), region.end,
                             align_down(address, arch::kLargePageSize) + arch::kLargePageSize});
  Run run{address, table.next_present(address, limit)};
  auto is_mapped = [&](uint64_t at) { return at >= region.start && table.query(at).has_value(); };
  if (!is_mapped(address - kPageSize)) return {address, address + kPageSize};
  while (run.end - run.start > kPageSize) {
    uint64_t half = align_up((run.end - run.start) / 2, kPageSize);
    if (is_mapped(address - half)) break;
    run.end = run.start + half;
  }
  return run;
}

/// Maps `run`, in which `address` lies and nothing else, from the largest blocks that fill it: of a
/// larger one what is left over would be had in vain, where memory is the host's. Whether there is
/// a page at `address` now.
bool AddressSpace::Implementation::map_run_locked(const Run& run, uint64_t address,
                                                  arch::PageFlags flags) {
  bool failed = false;
  for (uint64_t at = run.start; at < run.end && !failed;) {
    uint64_t missing = (run.end - at) >> kPageShift;
    auto order = static_cast<unsigned>(std::bit_width(missing) - 1);
    Result<Page*> pages = page_allocator::allocate_pages(order, page_allocator::Fill::kZero);
    if (!pages) break;
    for (Page& each : std::span(*pages, size_t{1} << order)) {
      PageRef page = PageRef::adopt(&each);
      failed = failed || !map_page_locked(at, std::move(page), flags);
      if (!failed) at += kPageSize;
    }
  }
  return table.query(address).has_value();
}

/// Whether pages are set aside for `address`, now if not before: where a heap of more than 1 MiB
/// that was filled from below comes to the next 2 MiB. It grows by small steps, so that a large
/// page would hold more than the program may use.
bool AddressSpace::Implementation::reserve_locked(const Region& region, uint64_t address,
                                                  arch::PageFlags flags) {
  if (address >= reservation.next && address < reservation.end) return true;
  uint64_t start = align_down(address, arch::kLargePageSize), end = start + arch::kLargePageSize;
  uint64_t heap_end = align_up(heap_break, kPageSize);
  if (region.end != heap_end || region.large_pages == Region::LargePages::kNever ||
      address - start > kMostSkipped || start < region.start + arch::kLargePageSize / 2)
    return false;
  bool is_filled_up_to = table.next_present(start - kMostSkipped, start) < start;
  uint64_t end_of_use = std::min(end, heap_end);
  if (!is_filled_up_to || table.next_present(start, end_of_use) < end_of_use) return false;
  Result<Page*> pages =
      page_allocator::allocate_pages(kLargePageOrder, page_allocator::Fill::kZero);
  if (!pages) return false;
  // What was skipped of the one before comes next.
  if (reservation.end == start && start - reservation.next <= kMostSkipped)
    map_reserved_to_locked(region, start, flags);
  release_reservation_locked();
  reservation = {start, end, *pages};
  return true;
}

bool AddressSpace::Implementation::release_reservation_locked() {
  if (reservation.next == reservation.end) return false;
  for (; reservation.next < reservation.end; reservation.next += kPageSize)
    PageRef::adopt(reservation.page++).reset();
  return true;
}

/// The heap is about to end at `end`. C libraries give back what lies free at its end, and take it
/// again soon: what was taken of the reservation above `end` is set aside again, to be cleared when
/// it is unmapped.
auto AddressSpace::Implementation::take_back_locked(uint64_t end) -> std::span<Page> {
  if (reservation.next == reservation.end || end >= reservation.next) return {};
  if (end <= reservation.end - arch::kLargePageSize) {
    release_reservation_locked();
    return {};
  }
  size_t count = 0;
  for (; reservation.next > end; ++count, reservation.next -= kPageSize) {
    std::optional<arch::Translation> entry = table.query(reservation.next - kPageSize);
    Page& page = *(reservation.page - 1);
    if (!entry || entry->physical != page.physical() || !is_exclusive(page)) break;
    (void)PageRef::share(&page).leak();
    reservation.page = &page;
  }
  return {reservation.page, count};
}

/// Maps what is set aside up to `end`, and gives it up if it is not as it should be; what comes to
/// the end of it is a large page.
void AddressSpace::Implementation::map_reserved_to_locked(const Region& region, uint64_t end,
                                                          arch::PageFlags flags) {
  bool ok = reservation.next >= region.start && end <= region.end &&
            table.next_present(reservation.next, end) >= end;
  for (; ok && reservation.next < end; reservation.next += kPageSize)
    ok = map_page_locked(reservation.next, PageRef::adopt(reservation.page++), flags).has_value();
  if (!ok) {
    release_reservation_locked();
  } else if (reservation.next == reservation.end) {
    table.join_large(reservation.end - arch::kLargePageSize);
  }
}

/// Gives a write to `address` the next pages that are set aside, if they are for it.
bool AddressSpace::Implementation::map_reserved_locked(const Region& region, uint64_t address,
                                                       arch::PageFlags flags) {
  // Allocators write ahead, to the header of what is left.
  if (!reserve_locked(region, address, flags) || address - reservation.next > kMostSkipped)
    return false;
  uint64_t end = std::min({address + (kPageSize << fault_order), region.end, reservation.end});
  map_reserved_to_locked(region, end, flags);
  return table.query(address).has_value();
}

/// The heap has grown by [start, end). What grows by little, and has used all that it had, is about
/// to use that too, and is spared the fault.
void AddressSpace::Implementation::map_growth_locked(uint64_t start, uint64_t end) {
  if (reservation.next != start || reservation.next == reservation.end ||
      end - start > kPageSize << fault_order || !has_memory_to_spare())
    return;
  const Region& region = *regions.find(start);
  end = std::min(end, reservation.end);
  map_reserved_to_locked(region, end, page_flags(region.protection));
  arch::prefetch_translations(table.root(), start, end);
}

/// Gives a write to `address` the pages that are missing of an aligned block, the largest of up to
/// 2^fault_order of which most is missing, where memory is being filled: twice as much each time.
/// What is touched here and there stays small. False when it is to get a single page.
bool AddressSpace::Implementation::map_cluster_locked(const Region& region, uint64_t address,
                                                      arch::PageFlags flags) {
  if (fault_order == 0 || !has_memory_to_spare()) return false;
  if (map_reserved_locked(region, address, flags)) return true;
  Run up = upward_run_locked(region, address);
  if (up.end - up.start > kPageSize) return map_run_locked(up, address, flags);
  for (unsigned order = fault_order; order > 0; --order) {
    uint64_t size = kPageSize << order;
    Run run = empty_run_locked(region, address, order);
    if (2 * (run.end - run.start) <= size || !is_filled_up_to_locked(region, address, run))
      continue;
    return map_run_locked(run, address, flags);
  }
  return false;
}

/// A write to a page of a private file mapping that continues such writes from below, as a dynamic
/// loader's relocations do: copies the pages that follow too, as one block, of up to twice as many
/// as were written to below. False when it is to get a single page.
bool AddressSpace::Implementation::copy_cluster_locked(Region& region, uint64_t address,
                                                       arch::PageFlags flags) {
  constexpr unsigned kMostOrder = 3;
  constexpr uint64_t kMost = uint64_t{1} << kMostOrder;
  if (fault_order < kMostOrder || !region.object || !has_memory_to_spare()) return false;
  auto is_written = [&](uint64_t at) {
    std::optional<arch::Translation> entry = table.query(at);
    return entry && has(entry->flags, arch::PageFlags::kWrite);
  };
  uint64_t below = 0;
  while (below < kMost / 2 && address - region.start > below * kPageSize &&
         is_written(address - (below + 1) * kPageSize))
    ++below;
  std::array<PageRef, kMost> sources;
  uint64_t count = 0, limit = std::min({2 * below, kMost, (region.end - address) >> kPageShift});
  for (; count < limit; ++count) {
    uint64_t at = address + count * kPageSize;
    PageRef& source = sources[count];
    if (std::optional<arch::Translation> entry = table.query(at)) {
      if (has(entry->flags, arch::PageFlags::kWrite)) break;
      source = PageRef::share(page_allocator::page_of(entry->physical));
    } else {
      source = region.object->resident_page(region.object_index(at));
      if (!source) break;
    }
  }
  if (count < 2) return false;
  count = std::bit_floor(count);
  Result<Page*> copies = page_allocator::allocate_pages(
      static_cast<unsigned>(std::countr_zero(count)), page_allocator::Fill::kNone);
  if (!copies) return false;
  ReleasedPages released(table);
  unmap_for_others_locked(address, address + count * kPageSize, released);
  bool mapped = false;
  for (uint64_t i = 0; i < count; ++i) {
    PageRef copy = PageRef::adopt(*copies + i);
    std::memcpy(copy->data(), sources[i]->data(), kPageSize);
    bool done = map_page_locked(address + i * kPageSize, std::move(copy), flags).has_value();
    // What follows may stay away.
    if (i == 0) mapped = done;
  }
  return mapped;
}

}  // namespace aril
