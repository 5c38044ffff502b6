#include "features.hpp"

#include "arch/cpu.hpp"

extern "C" {
constinit bool aril_fast_string_moves = false;
constinit bool aril_has_gs_instructions = false;
}

namespace aril::arch {

constinit CpuFeatures features{};

uint64_t hardware_capabilities() { return features.capabilities; }

bool hardware_random(uint64_t& out) {
  // Ten tries, as Intel advises for RDRAND [SDM 1, 7.3.17.1]; RDSEED may well be empty.
  for (int i = 0; i < 10; ++i) {
    bool valid = false;
    if (features.rdseed && i < 5) {
      asm volatile("rdseed %0" : "=r"(out), "=@ccc"(valid));
    } else if (features.rdrand) {
      asm volatile("rdrand %0" : "=r"(out), "=@ccc"(valid));
    }
    if (valid) return true;
  }
  return false;
}

}  // namespace aril::arch
