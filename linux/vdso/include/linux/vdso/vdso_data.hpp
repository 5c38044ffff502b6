#pragma once
#include <cstdint>

namespace aril::linux_abi {

/// The page that the kernel and the vDSO share; the kernel writes, the vDSO reads. `sequence` is
/// odd while the kernel writes, and changes with every update.
struct VdsoData {
  uint32_t sequence;
  uint32_t usable;  ///< 0: the time does not come from the cycle counter; make the system call
  uint64_t base_cycles;
  int64_t base_ns;          ///< monotonic time at base_cycles
  int64_t realtime_offset;  ///< realtime - monotonic
  uint32_t multiplier, shift;
};

}  // namespace aril::linux_abi
