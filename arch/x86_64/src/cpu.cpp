#include "arch/cpu.hpp"

#include <atomic>

#include "arch/context.hpp"
#include "arch/device_fence.hpp"
#include "arch/startup.hpp"
#include "arch/syscall_entry.hpp"
#include "machine.hpp"

extern "C" {
extern std::byte aril_boot_stack_bottom[], aril_boot_stack_top[];
constinit aril::arch::CpuBlock aril_boot_cpu{
    .self = &aril_boot_cpu,
    .patched_entry = aril::arch::aril_patched_entry,
};
}

namespace aril::arch {

constinit bool halting = false;
constinit bool fences_are_dropped = false;
constinit std::atomic<unsigned> running_cpus{1};

namespace {
constinit CpuTables boot_tables{};
constinit CpuBlock* blocks[kMaxCpus] = {&aril_boot_cpu};

constexpr uint64_t kCr4Osfxsr = 1 << 9, kCr4Osxmmexcpt = 1 << 10, kCr4Fsgsbase = 1 << 16,
                   kCr4Osxsave = 1 << 18;

void write_xcr0(uint64_t value) {
  asm volatile("xsetbv"
               :
               : "c"(0), "a"(static_cast<uint32_t>(value)),
                 "d"(static_cast<uint32_t>(value >> 32)));
}
}  // namespace

CpuBlock& cpu_block(unsigned index) { return *blocks[index]; }

void register_cpu(CpuBlock& block) {
  blocks[block.index] = &block;
  // Release: whoever sees the count also sees the block.
  running_cpus.store(block.index + 1, std::memory_order_release);
  if (block.index != 0) fences_are_dropped = false;
}

namespace {
/// QEMU's emulator, as leaf 0x40000000 names it.
bool is_emulated_by_tcg() {
  if (!features.hypervisor) return false;
  CpuidResult leaf = cpuid(0x4000'0000);
  return leaf.ebx == 0x5447'4354 && leaf.ecx == 0x4354'4743 &&
         leaf.edx == 0x4743'5447;  // "TCGTCGTCGTCG"
}
}  // namespace

void detect_features() {
  CpuidResult leaf1 = cpuid(1);
  CpuidResult leaf7 = cpuid_or_zero(7);
  CpuidResult extended1 = cpuid_or_zero(0x8000'0001);
  features.x2apic = (leaf1.ecx >> 21 & 1) != 0;
  features.tsc_deadline = (leaf1.ecx >> 24 & 1) != 0;
  features.xsave = (leaf1.ecx >> 26 & 1) != 0;
  features.rdrand = (leaf1.ecx >> 30 & 1) != 0;
  features.hypervisor = (leaf1.ecx >> 31 & 1) != 0;
  fences_are_dropped = is_emulated_by_tcg();
  features.capabilities = leaf1.edx;
  features.fsgsbase = (leaf7.ebx & 1) != 0;
  features.rdseed = (leaf7.ebx >> 18 & 1) != 0;
  features.gigabyte_pages = (extended1.edx >> 26 & 1) != 0;
  features.invariant_tsc = (cpuid_or_zero(0x8000'0007).edx >> 8 & 1) != 0;
  // Fast Short REP MOV: earlier CPUs lose more on start-up than they win on the width.
  aril_fast_string_moves = (leaf7.edx >> 4 & 1) != 0;
  if (features.xsave) {
    // x87, SSE, AVX, AVX-512 (three components, all or none) [SDM 1, 13.3].
    constexpr uint64_t kWanted = 0x7 | 0xe0;
    CpuidResult leaf = cpuid(0xd);
    features.xcr0 = ((uint64_t{leaf.edx} << 32) | leaf.eax) & kWanted;
    if ((features.xcr0 & 0xe0) != 0xe0) features.xcr0 &= ~uint64_t{0xe0};
  }
  features.fpu_state_size = 512;
}

void enable_cpu_features() {
  uint64_t cr0;
  asm volatile("movq %%cr0, %0" : "=r"(cr0));
  cr0 = (cr0 & ~uint64_t{0x4000'000c}) | 0x22;  // EM, TS, CD off; MP, NE on
  asm volatile("movq %0, %%cr0" : : "r"(cr0));
  uint64_t cr4 = read_cr4() | kCr4Osfxsr | kCr4Osxmmexcpt;
  if (features.fsgsbase) cr4 |= kCr4Fsgsbase;
  if (features.xsave) cr4 |= kCr4Osxsave;
  write_cr4(cr4);
  aril_has_gs_instructions = features.fsgsbase;
  if (features.xsave) {
    write_xcr0(features.xcr0);
    // The size for what XCR0 now enables [SDM 2A, CPUID leaf 0DH].
    features.fpu_state_size = cpuid(0xd).ebx;
  }
  asm volatile("fninit");
}

void initialize_boot_cpu() {
  aril_boot_cpu.kernel_stack_bottom = reinterpret_cast<uint64_t>(aril_boot_stack_bottom);
  aril_boot_cpu.kernel_stack_top = reinterpret_cast<uint64_t>(aril_boot_stack_top);
  detect_features();
  build_interrupt_table();
  restore_boot_cpu();
}

void restore_boot_cpu() {
  load_descriptor_tables(boot_tables);
  enable_cpu_features();
}

uint64_t thread_pointer() {
  if (!features.fsgsbase) return read_msr(Msr::kFsBase);
  uint64_t value;
  asm volatile("rdfsbase %0" : "=r"(value));
  return value;
}

void set_thread_pointer(uint64_t value) {
  if (features.fsgsbase) {
    asm volatile("wrfsbase %0" : : "r"(value));
  } else {
    write_msr(Msr::kFsBase, value);
  }
}

void halt_all() {
  disable_interrupts();
  halting = true;
  for (unsigned i = 0; i < cpu_count(); ++i) {
    if (i != cpu_index())
      local_apic::send_ipi(blocks[i]->apic_id, local_apic::kDeliverNmi | local_apic::kLevelAssert);
  }
  for (;;) asm volatile("cli; hlt");
}

void triple_fault() {
  struct [[gnu::packed]] {
    uint16_t limit;
    uint64_t base;
  } empty{0, 0};
  asm volatile("lidt %0; ud2" : : "m"(empty));
  for (;;) asm volatile("cli; hlt");
}

}  // namespace aril::arch
