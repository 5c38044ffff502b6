#include <cstring>
#include <new>

#include "arch/page_table.hpp"
#include "arch/syscall_entry.hpp"
#include "arch/timer.hpp"
#include "machine.hpp"

extern "C" {
extern const std::byte aril_trampoline_start[], aril_trampoline_end[], aril_trampoline_values[],
    aril_trampoline_64[];
extern uint64_t boot_pml4[512], boot_pdpt_direct[512];
}

namespace aril::arch {
namespace {

/// The end of the trampoline page, filled in per CPU; layout of trampoline.S.
struct [[gnu::packed]] TrampolineValues {
  uint64_t gdt[3];
  uint64_t cpu_block, stack, entry;
  uint32_t cr3;
  uint32_t far_offset;
  uint16_t far_selector;
  uint16_t gdt_limit;
  uint32_t gdt_base;
};

/// The layout of a secondary CPU's memory.
struct CpuMemory {
  static constexpr size_t kStackSize = 32 * 1024;
  CpuBlock block;
  void (*entry)();
  CpuTables tables;
  alignas(4096) std::byte stack[kStackSize];
};
static_assert(sizeof(CpuMemory) <= kCpuMemorySize);

/// On the new CPU, from the trampoline: GS base and stack are set, nothing else.
void run_secondary(CpuBlock* block) {
  auto* memory = reinterpret_cast<CpuMemory*>(block);
  enable_cpu_features();
  load_descriptor_tables(memory->tables);
  PageTable::kernel().activate();
  local_apic::enable_this_cpu();
  initialize_clock_on_this_cpu();
  initialize_timer_on_this_cpu();
  register_cpu(*block);
  memory->entry();
}

bool wait_until_running(unsigned index, Duration limit) {
  Instant deadline = monotonic_now() + limit;
  while (cpu_count() <= index) {
    if (monotonic_now() >= deadline) return false;
    relax();
  }
  return true;
}

}  // namespace

Result<void> start_cpu(uint32_t apic_id, std::span<std::byte> memory, PhysicalAddress trampoline,
                       void (*entry)()) {
  unsigned index = cpu_count();
  if (index == kMaxCpus) return fail(Errno::kNoSpc);
  finish_timer_measurement();
  if (memory.size() < kCpuMemorySize || trampoline >= 0x10'0000 ||
      !is_aligned(trampoline, kPageSize))
    return fail(Errno::kInval);

  auto* cpu = new (memory.data()) CpuMemory;
  cpu->block = {
      .self = &cpu->block,
      .kernel_stack_top = reinterpret_cast<uint64_t>(cpu->stack + CpuMemory::kStackSize),
      .index = index,
      .stack_canary = this_cpu().stack_canary,
      .apic_id = apic_id,
      .kernel_stack_bottom = reinterpret_cast<uint64_t>(cpu->stack),
      .patched_entry = aril_patched_entry,
  };
  cpu->entry = entry;
  cpu->tables.task_state = {};

  size_t code_size = static_cast<size_t>(aril_trampoline_end - aril_trampoline_start);
  size_t values_offset = static_cast<size_t>(aril_trampoline_values - aril_trampoline_start);
  std::byte* page = physical_to_virtual(trampoline);
  std::memcpy(page, aril_trampoline_start, code_size);
  auto* values = reinterpret_cast<TrampolineValues*>(page + values_offset);
  auto base = static_cast<uint32_t>(trampoline);
  values->cpu_block = reinterpret_cast<uint64_t>(&cpu->block);
  values->stack = cpu->block.kernel_stack_top;
  values->entry = reinterpret_cast<uint64_t>(&run_secondary);
  values->cr3 = static_cast<uint32_t>(boot_page_table_root());
  values->far_offset = base + static_cast<uint32_t>(aril_trampoline_64 - aril_trampoline_start);
  values->gdt_base = base + static_cast<uint32_t>(values_offset);

  // The trampoline runs at its physical address for a few instructions after paging is on: the
  // identity map comes back meanwhile. Only start-up code runs now, no application.
  boot_pml4[0] = virtual_to_physical(boot_pdpt_direct) | 3;
  using namespace local_apic;
  send_ipi(apic_id, kDeliverInit | kLevelAssert);
  uint32_t startup = kDeliverStartup | kLevelAssert | static_cast<uint32_t>(trampoline >> 12);
  // Virtual CPUs need no 10 ms after INIT [SDM 3A 9.4.4.1]; a second start-up IPI is for a CPU that
  // was not ready for the first, and has no effect on one that runs.
  send_ipi(apic_id, startup);
  bool running = wait_until_running(index, Duration::milliseconds(10));
  if (!running) {
    send_ipi(apic_id, startup);
    running = wait_until_running(index, Duration::milliseconds(500));
  }
  boot_pml4[0] = 0;
  flush_this_tlb();
  if (!running) return fail(Errno::kTimedOut);
  return {};
}

}  // namespace aril::arch
