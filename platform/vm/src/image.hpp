#pragma once
#include <cstdint>
#include <optional>

#include "kernel/memory/page_allocator.hpp"

namespace aril::platform {

/// The root file system that the builder appended to the kernel; nothing when it did not.
std::optional<PhysicalRange> appended_root();

}  // namespace aril::platform
