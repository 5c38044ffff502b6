#pragma once
#include <cstdint>
#include <string>

namespace aril::arch {

/// What /proc/cpuinfo tells of the CPU that the caller runs on.
struct CpuInfo {
  std::string vendor;      ///< "GenuineIntel"
  std::string model_name;  ///< the brand string
  uint32_t family = 0, model = 0, stepping = 0;
  uint32_t apic_id = 0;
  uint32_t cache_line_size = 64;
  uint32_t physical_address_bits = 40, virtual_address_bits = 48;
  uint32_t highest_leaf = 0;
  std::string flags;  ///< Linux's names, separated by blanks
};
CpuInfo cpu_info();

}  // namespace aril::arch
