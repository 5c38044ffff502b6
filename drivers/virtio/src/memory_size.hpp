#pragma once
#include "base/units.hpp"
#include "kernel/memory/page_allocator.hpp"

namespace aril::virtio {

/// Rings are sized by the memory that there is.
inline constexpr size_t kSmallRam = 32 * kMiB;
inline size_t total_ram() { return page_allocator::statistics().total_pages * kPageSize; }

}  // namespace aril::virtio
