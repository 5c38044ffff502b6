#pragma once
#include <cstdint>

/// CPUID, and what start-up learns from it.
namespace aril::arch {

struct CpuidResult {
  uint32_t eax, ebx, ecx, edx;
};
inline CpuidResult cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  CpuidResult result;
  asm volatile("cpuid"
               : "=a"(result.eax), "=b"(result.ebx), "=c"(result.ecx), "=d"(result.edx)
               : "a"(leaf), "c"(subleaf));
  return result;
}
/// Leaves past the highest basic leaf read as zeroes, not as the highest leaf [SDM 2A, CPUID].
inline CpuidResult cpuid_or_zero(uint32_t leaf, uint32_t subleaf = 0) {
  if (cpuid(leaf & 0xc000'0000).eax < leaf) return {};
  return cpuid(leaf, subleaf);
}

/// What the boot CPU found out, the same on all.
struct CpuFeatures {
  bool x2apic, tsc_deadline, fsgsbase, xsave, rdrand, rdseed, gigabyte_pages, invariant_tsc,
      hypervisor;
  uint64_t xcr0;
  uint32_t fpu_state_size;
  uint32_t capabilities;  ///< CPUID leaf 1, EDX
};
extern CpuFeatures features;

}  // namespace aril::arch

/// Read by the copy routines: `rep movsb` beats a loop of 8-byte moves on this CPU.
extern "C" bool aril_fast_string_moves;
/// Read by entry.S: this CPU has RDGSBASE, and so has the application WRGSBASE.
extern "C" bool aril_has_gs_instructions;
