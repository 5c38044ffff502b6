#pragma once
#include <cstddef>
#include <span>

#include "kernel/memory/page.hpp"

namespace aril {

struct PhysicalRange {
  PhysicalAddress start = 0, end = 0;
};

/// The machine's RAM in 4 KiB frames, handed out in blocks of 2^order by a buddy system with a
/// per-CPU cache of single pages. Any context that may take a spin lock.
namespace page_allocator {

inline constexpr unsigned kMaxOrder = 10;

/// Once, at boot, after the direct map: `usable` is RAM, `reserved` the parts of it in use (kernel
/// image, root file system, boot data). The frame table is put into usable memory. Panics with the
/// memory that is needed when there is too little.
void initialize(std::span<const PhysicalRange> usable, std::span<const PhysicalRange> reserved);

enum class Fill : uint8_t { kNone, kZero };

/// One page with one reference; kNoMem after reclaim found nothing.
Result<PageRef> allocate(Fill fill);
/// 2^order contiguous frames, aligned to their size; for DMA rings, stacks and large pages. Raw:
/// give them back with free_block.
Result<PhysicalAddress> allocate_block(unsigned order, Fill fill = Fill::kNone);
void free_block(PhysicalAddress start, unsigned order);

/// The frame-table entry for an address; null when it is not RAM that the table covers.
Page* page_of(PhysicalAddress address);

struct Statistics {
  size_t total_pages, free_pages, pinned_pages;
};
Statistics statistics();

}  // namespace page_allocator
}  // namespace aril
