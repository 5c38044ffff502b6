#include "arch/cpu_info.hpp"

#include <cpuid.h>

#include <algorithm>
#include <cstring>
#include <string_view>

namespace aril::arch {
namespace {

struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers leaf(uint32_t number, uint32_t subleaf = 0) {
  Registers r;
  __cpuid_count(number, subleaf, r.eax, r.ebx, r.ecx, r.edx);
  return r;
}

/// Names of a register's bits as Linux prints them [Linux arch/x86 cpufeatures.h], blank-separated,
/// "-" for a bit without a name.
void append_flags(std::string& out, uint32_t bits, std::string_view names) {
  for (unsigned bit = 0; bit < 32 && !names.empty(); ++bit) {
    std::string_view name = names.substr(0, names.find(' '));
    names.remove_prefix(std::min(name.size() + 1, names.size()));
    if ((bits >> bit & 1) == 0 || name == "-") continue;
    if (!out.empty()) out += ' ';
    out += name;
  }
}

// [SDM 2A, CPUID]
constexpr std::string_view kLeaf1Edx =
    "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - dts "
    "acpi mmx fxsr sse sse2 ss ht tm ia64 pbe";
constexpr std::string_view kLeaf1Ecx =
    "pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - pcid "
    "dca sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave - avx f16c rdrand "
    "hypervisor";
constexpr std::string_view kLeaf7Ebx =
    "fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a avx512f "
    "avx512dq rdseed adx smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er avx512cd "
    "sha_ni avx512bw avx512vl";
constexpr std::string_view kLeaf7Ecx =
    "- avx512vbmi umip pku ospke waitpkg avx512_vbmi2 - gfni vaes vpclmulqdq avx512_vnni "
    "avx512_bitalg - avx512_vpopcntdq - la57 - - - - - rdpid - - cldemote - movdiri movdir64b";
constexpr std::string_view kExtendedEdx =
    "- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp - lm "
    "3dnowext 3dnow";
constexpr std::string_view kExtendedEcx =
    "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop "
    "skinit wdt - lwp fma4 tce - nodeid_msr - tbm topoext";

}  // namespace

CpuInfo cpu_info() {
  CpuInfo info;
  Registers basic = leaf(0);
  info.highest_leaf = basic.eax;
  char text[48];
  std::memcpy(text, &basic.ebx, 4);
  std::memcpy(text + 4, &basic.edx, 4);
  std::memcpy(text + 8, &basic.ecx, 4);
  info.vendor.assign(text, 12);

  Registers version = leaf(1);
  info.stepping = version.eax & 0xf;
  info.family = (version.eax >> 8) & 0xf;
  info.model = (version.eax >> 4) & 0xf;
  if (info.family == 0xf || info.family == 6) info.model |= (version.eax >> 12) & 0xf0;
  if (info.family == 0xf) info.family += (version.eax >> 20) & 0xff;
  info.apic_id = version.ebx >> 24;
  info.cache_line_size = ((version.ebx >> 8) & 0xff) * 8;
  append_flags(info.flags, version.edx, kLeaf1Edx);

  uint32_t highest_extended = leaf(0x80000000).eax;
  if (highest_extended >= 0x80000001) {
    Registers extended = leaf(0x80000001);
    append_flags(info.flags, extended.edx, kExtendedEdx);
    append_flags(info.flags, version.ecx, kLeaf1Ecx);
    append_flags(info.flags, extended.ecx, kExtendedEcx);
  }
  if (info.highest_leaf >= 7) {
    Registers structured = leaf(7);
    append_flags(info.flags, structured.ebx, kLeaf7Ebx);
    append_flags(info.flags, structured.ecx, kLeaf7Ecx);
  }
  if (highest_extended >= 0x80000004) {
    for (uint32_t i = 0; i < 3; ++i) {
      Registers brand = leaf(0x80000002 + i);
      std::memcpy(text + i * 16, &brand, 16);
    }
    std::string_view name(text, strnlen(text, sizeof(text)));
    name.remove_prefix(std::min(name.find_first_not_of(' '), name.size()));
    info.model_name = name;
  }
  if (highest_extended >= 0x80000008) {
    uint32_t bits = leaf(0x80000008).eax;
    info.physical_address_bits = bits & 0xff;
    info.virtual_address_bits = (bits >> 8) & 0xff;
  }
  return info;
}

}  // namespace aril::arch
