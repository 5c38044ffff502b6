#pragma once
#include <span>

#include "arch/startup.hpp"

namespace aril::platform {

/// From the loader's memory map to a working heap: the direct map over all RAM, the kernel image's
/// final permissions, the page allocator. RAM below 64 KiB is not used.
void set_up_memory(const arch::BootInformation& boot);

/// A page below 1 MiB for starting further CPUs; 0 when there is none.
arch::PhysicalAddress trampoline_page(const arch::BootInformation& boot);

/// `size` bytes of physical memory for reading firmware tables: through the direct map where it
/// reaches, else mapped for good. Empty when that fails.
std::span<const std::byte> view_physical(uint64_t address, size_t size);

}  // namespace aril::platform
