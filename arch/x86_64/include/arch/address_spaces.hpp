#pragma once
#include "arch/layout.hpp"

namespace aril::arch {

/// Whether CPUs may have different page tables loaded at the same time.
inline constexpr bool kCpusHaveOwnPageTables = true;
/// Whether CPUs read the page tables by themselves, at any moment.
inline constexpr bool kCpusWalkPageTables = true;
/// How many pages of fresh memory a fault gets at most, as a power of two, where it does not touch
/// a large page: more than one when a fault costs more than zeroing a few pages.
inline constexpr unsigned kFaultOrder = 0;

/// Somebody is about to write to [start, end), which the tree of this root maps. The CPU fetches
/// translations by itself.
inline void prefetch_translations(PhysicalAddress, uint64_t, uint64_t) {}

}  // namespace aril::arch
