#pragma once
#include <cstddef>
#include <cstdint>

#include "base/process_abi.hpp"

namespace aril::arch {

using PhysicalAddress = uint64_t;

/// Virtual layout: all of it in what a Linux process has (base/process_abi.hpp).
inline constexpr uint64_t kApplicationBottom = kProcessApplicationStart;
inline constexpr uint64_t kApplicationTop = kProcessApplicationEnd;

/// Whether an address is on the application's side; the rest belongs to the kernel.
constexpr bool is_application_address(uint64_t address) { return address < kApplicationTop; }

/// What cs and ss of every frame hold: Linux's selectors for 64-bit processes.
inline constexpr uint64_t kApplicationCs = 0x33;
inline constexpr uint64_t kApplicationSs = 0x2b;

/// RAM and, above it, the root file system.
inline constexpr uint64_t kDirectMapBase = kMemoryBase;
inline constexpr uint64_t kKernelMapBase = kProcessKernelMapStart;
inline constexpr uint64_t kKernelMapTop = kProcessKernelMapEnd;

/// The direct map's address of physical memory.
inline std::byte* physical_to_virtual(PhysicalAddress address) {
  // The direct map is a linear view made before any kernel code runs.
  return reinterpret_cast<std::byte*>(kDirectMapBase + address);
}
/// For a pointer into the direct map.
inline PhysicalAddress virtual_to_physical(const void* pointer) {
  return reinterpret_cast<uint64_t>(pointer) - kDirectMapBase;
}

}  // namespace aril::arch
