#pragma once
#include <cstddef>
#include <span>

#include "kernel/memory/page_allocator.hpp"

/// Free memory that the host may have back until it is used again: for the driver that tells the
/// host of it. A free block is reported once; it counts as not reported again when a part of it was
/// in use, or when it was joined with one that was not reported. Any context that may take a spin
/// lock.
namespace aril::page_allocator {

/// Smaller blocks stay: 2 MiB is what hosts map at once.
inline constexpr unsigned kReportedOrder = 9;

struct FreeBlock {
  PhysicalAddress start = 0;
  unsigned order = 0;
};

/// Takes free blocks of kReportedOrder or more that were not reported, until `blocks` is full,
/// there are no more, or a quarter of the free memory is out; the number taken. Nobody gets them
/// until they are put back.
size_t take_unreported(std::span<FreeBlock> blocks);

/// What became of blocks that take_unreported() gave.
enum class Report : uint8_t { kDone, kFailed };
void put_back(std::span<const FreeBlock> blocks, Report report);

}  // namespace aril::page_allocator
