#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>

#include "address_space_state.hpp"

// Faults that get more pages than the one that was touched.
namespace aril {
namespace {

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
/// much as is mapped below, wherever it begins and ends. One page where it is not.
auto AddressSpace::Implementation::upward_run_locked(const Region& region, uint64_t address) const
    -> Run {
  uint64_t limit = std::min(address + (kPageSize << fault_order), region.end);
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

/// Gives a write to `address` the pages that are missing of an aligned block, the largest of up to
/// 2^fault_order of which most is missing, where memory is being filled: twice as much each time.
/// What is touched here and there stays small. False when it is to get a single page.
bool AddressSpace::Implementation::map_cluster_locked(const Region& region, uint64_t address,
                                                      arch::PageFlags flags) {
  if (fault_order == 0 || !has_memory_to_spare()) return false;
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
  zap_locked(address, address + count * kPageSize);
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
