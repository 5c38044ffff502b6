#pragma once
#include <cstddef>
#include <cstdint>

namespace aril::arch {

using PhysicalAddress = uint64_t;

/// The same virtual layout as x86_64's; application addresses are the test process's own.
inline constexpr uint64_t kApplicationBottom = 0x10000;
inline constexpr uint64_t kApplicationTop = 0x0000'7fff'ffff'f000;
inline constexpr uint64_t kKernelMapBase = 0xffff'c000'0000'0000;
inline constexpr uint64_t kKernelMapTop = 0xffff'c080'0000'0000;

/// Simulated RAM: physical addresses [kPageSize, host_ram_size()) are bytes of this arena.
inline constexpr size_t kHostRamSize = size_t{256} << 20;
std::byte* host_ram();

inline std::byte* physical_to_virtual(PhysicalAddress address) { return host_ram() + address; }
inline PhysicalAddress virtual_to_physical(const void* pointer) {
  return static_cast<PhysicalAddress>(static_cast<const std::byte*>(pointer) - host_ram());
}

}  // namespace aril::arch
