#pragma once
#include "arch/layout.hpp"

namespace aril::arch {

/// All CPUs are threads in one address space of the host. One CPU alone can change between page
/// tables; several cannot have different ones loaded at the same time.
inline constexpr bool kCpusHaveOwnPageTables = false;
/// They see what software shows them.
inline constexpr bool kCpusWalkPageTables = false;
/// How many pages of fresh memory a fault gets at most, as a power of two: a fault is a signal of
/// the host's and a mapping made there, some 5 us.
inline constexpr unsigned kFaultOrder = 6;

/// Somebody is about to write to [start, end), which the tree of this root maps: its host mapping
/// is made now, instead of at a fault. Only a hint. Any context.
void prefetch_translations(PhysicalAddress root, uint64_t start, uint64_t end);

}  // namespace aril::arch
