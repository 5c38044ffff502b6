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
/// image, root file system, boot data). Both in any order; they may overlap. The frame table is put
/// into usable memory, in pieces, so that holes cost nothing; most of it is filled in as memory is
/// first used, so that start-up does not depend on the machine's size. Frame 0 is never used.
/// Panics with the memory that is needed when there is too little.
void initialize(std::span<const PhysicalRange> usable, std::span<const PhysicalRange> reserved);

enum class Fill : uint8_t { kNone, kZero };
/// Memory that the application asks for runs out before the kernel's own: when it does, the kernel
/// can still say so.
enum class Purpose : uint8_t { kKernel, kApplication };

/// One page with one reference; kNoMem after reclaim found nothing. Only callers with interrupts
/// enabled (thread context, no spin lock) reclaim; others may use a small reserve instead.
Result<PageRef> allocate(Fill fill, Purpose purpose = Purpose::kKernel);
/// 2^order contiguous pages for an application, aligned to their size, each with one reference and
/// given back on its own. kNoMem at once when there is no such block: nothing is reclaimed for it.
Result<Page*> allocate_pages(unsigned order, Fill fill);
/// 2^order contiguous frames, aligned to their size; for DMA rings, stacks and large pages. Raw:
/// give them back with free_block.
Result<PhysicalAddress> allocate_block(unsigned order, Fill fill = Fill::kNone);
void free_block(PhysicalAddress start, unsigned order);
/// Gives back `count` frames of a block that was allocated whole: its cut-off tail, or the rest.
void free_range(PhysicalAddress start, size_t count);

/// The same page for every read of memory that was never written: zeroes, pinned. References to it
/// need not be counted.
Page& zero_page();

/// Frees up to about `pages` pages that can be had again (clean page-cache pages) and returns how
/// many it freed. Called when memory is short, in thread context, possibly with locks of any rank
/// held: it may only try_lock mutexes, and must not allocate.
using Shrinker = size_t (*)(size_t pages);
/// At start-up.
void add_shrinker(Shrinker shrinker);
/// Runs the shrinkers until `pages` pages came free or nothing more does; the count. Thread
/// context. For callers that can drop their own locks first and try again.
size_t reclaim(size_t pages);

/// The frame-table entry for an address; null when it is not RAM that the table covers.
Page* page_of(PhysicalAddress address);

struct Statistics {
  size_t total_pages;  ///< RAM but for the reserved parts and the frame table
  size_t free_pages;
  size_t pinned_pages;  ///< the reserved parts and the frame table
};
Statistics statistics();

}  // namespace page_allocator
}  // namespace aril
