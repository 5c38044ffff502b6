#pragma once
#include <cstddef>
#include <cstdint>

namespace aril::arch {

using PhysicalAddress = uint64_t;

/// Virtual layout [docs/memory.md]. The application has the lower half, below kApplicationTop.
inline constexpr uint64_t kApplicationBottom = 0x10000;
inline constexpr uint64_t kApplicationTop = 0x0000'7fff'ffff'f000;
/// Whether an address is on the application's side; the rest belongs to the kernel.
constexpr bool is_application_address(uint64_t address) {
  return static_cast<int64_t>(address) >= 0;
}
/// What cs and ss of an application's frame must hold: Aril's applications run in ring 0.
inline constexpr uint64_t kApplicationCs = 0x08;
inline constexpr uint64_t kApplicationSs = 0x10;
/// All of RAM, in 2 MiB and 1 GiB pages.
inline constexpr uint64_t kDirectMapBase = 0xffff'8000'0000'0000;
/// Kernel stacks and device registers, mapped page by page.
inline constexpr uint64_t kKernelMapBase = 0xffff'c000'0000'0000;
inline constexpr uint64_t kKernelMapTop = 0xffff'c080'0000'0000;
/// The kernel's image: linked at this plus its physical address.
inline constexpr uint64_t kKernelImageBase = 0xffff'ffff'8000'0000;

/// The direct map's address of physical memory that is RAM.
inline std::byte* physical_to_virtual(PhysicalAddress address) {
  // The direct map is a linear view of RAM made before any kernel code runs.
  return reinterpret_cast<std::byte*>(kDirectMapBase + address);
}
/// For a pointer into the direct map or the kernel image.
inline PhysicalAddress virtual_to_physical(const void* pointer) {
  auto address = reinterpret_cast<uint64_t>(pointer);
  return address >= kKernelImageBase ? address - kKernelImageBase : address - kDirectMapBase;
}

}  // namespace aril::arch
