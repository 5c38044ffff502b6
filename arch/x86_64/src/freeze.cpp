#include "arch/freeze.hpp"

#include <bit>

#include "machine.hpp"

extern "C" {
uint64_t aril_freeze(void (*stop)());
[[noreturn]] void aril_start_cold(uint64_t boot_data, uint64_t data);
extern std::byte aril_thaw_start[], aril_rodata_end[], aril_bss_start[];
extern uint64_t boot_pml4[512];
}

namespace aril::arch {

PhysicalAddress freeze() { return aril_freeze(&triple_fault); }

PhysicalAddress thaw_entry() { return virtual_to_physical(aril_thaw_start); }

uint64_t cpu_signature() {
  uint64_t signature = 0;
  // Without which of several CPUs this is, how many there are, and what mirrors CR4 and XCR0
  // [SDM 2A, CPUID].
  constexpr uint32_t kClflushSize = 0xff00, kOsXsave = 1u << 27, kSeveralThreads = 1u << 28,
                     kSeveralCores = 1u << 1, kOsPke = 1u << 4;
  constexpr struct {
    uint32_t leaf;
    CpuidResult ignored;
  } kLeaves[] = {{.leaf = 0},
                 {1, {.ebx = ~kClflushSize, .ecx = kOsXsave, .edx = kSeveralThreads}},
                 {7, {.ecx = kOsPke}},
                 {0xd, {.ebx = ~0u}},
                 {0x4000'0000},
                 {0x8000'0001, {.ebx = ~0u, .ecx = kSeveralCores}},
                 {0x8000'0008, {.ecx = ~0u}}};
  for (const auto& [leaf, ignored] : kLeaves) {
    CpuidResult result = cpuid_or_zero(leaf);
    const uint32_t values[] = {result.eax & ~ignored.eax, result.ebx & ~ignored.ebx,
                               result.ecx & ~ignored.ecx, result.edx & ~ignored.edx};
    constexpr uint64_t kOdd = 0x9e37'79b9'7f4a'7c15;
    for (uint32_t value : values) signature = (std::rotl(signature, 23) ^ value) * kOdd;
  }
  return signature;
}

void thaw_cpu() {
  boot_pml4[0] = 0;  // the identity map
  flush_this_tlb();
  restore_active_tables();
  restore_boot_cpu();
}

void start_cold(PhysicalAddress boot_data, PhysicalAddress data) {
  // The first GiB one to one again: paging is turned off there.
  constexpr size_t kDirectMap = 256;
  constexpr uint64_t kNoExecute = uint64_t{1} << 63;
  boot_pml4[0] = boot_pml4[kDirectMap] & ~kNoExecute;
  write_cr3(boot_page_table_root());
  aril_start_cold(boot_data, data);
}

uint64_t cold_data_size() { return static_cast<uint64_t>(aril_bss_start - aril_rodata_end); }

}  // namespace aril::arch
