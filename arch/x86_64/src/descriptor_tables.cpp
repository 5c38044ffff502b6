#include <cstring>

#include "arch/syscall_entry.hpp"
#include "machine.hpp"

extern "C" std::byte aril_trap_stubs[];

namespace aril::arch {
namespace {

struct [[gnu::packed]] TablePointer {
  uint16_t limit;
  uint64_t base;
};

struct InterruptGate {  // [SDM 3A 6.14.1]
  uint16_t offset_low;
  uint16_t selector;
  uint8_t stack;  ///< IST index
  uint8_t type;
  uint16_t offset_middle;
  uint32_t offset_high;
  uint32_t reserved;
};
static_assert(sizeof(InterruptGate) == 16);

constexpr uint8_t kPresentInterruptGate = 0x8e;
constexpr uint64_t kStubSize = 16;
constexpr uint16_t kTaskSelector = 0x18;
// Cleared on `syscall`: IF, and what the way back restores by IRET: TF DF IOPL NT RF AC ID
// (entry.S).
constexpr uint64_t kSyscallFlagMask = 0x200 | 0x257500;

constinit InterruptGate interrupt_table[256] = {};

/// IST 1 for everything that is moved to a kernel stack at once; one each for what may hit in the
/// middle of that.
uint8_t stack_of(unsigned vector) {
  switch (vector) {
    case 2:
      return 2;  // NMI
    case 8:
      return 3;  // double fault
    case 18:
      return 4;  // machine check
    default:
      return 1;
  }
}

}  // namespace

void build_interrupt_table() {
  for (unsigned vector = 0; vector < 256; ++vector) {
    auto stub = reinterpret_cast<uint64_t>(aril_trap_stubs) + vector * kStubSize;
    interrupt_table[vector] = {
        .offset_low = static_cast<uint16_t>(stub),
        .selector = kApplicationCs,
        .stack = stack_of(vector),
        .type = kPresentInterruptGate,
        .offset_middle = static_cast<uint16_t>(stub >> 16),
        .offset_high = static_cast<uint32_t>(stub >> 32),
    };
  }
}

void load_descriptor_tables(CpuTables& tables) {
  // Each interrupt stack begins below its CPU's block's address, which entry.S finds there. 16
  // bytes are left, as the CPU aligns the stack to that.
  auto block = reinterpret_cast<uint64_t>(&this_cpu());
  for (size_t i = 0; i < CpuTables::kInterruptStacks; ++i) {
    std::byte* top = tables.stacks[i] + CpuTables::kInterruptStackSize - 16;
    std::memcpy(top, &block, sizeof block);
    tables.task_state.ist[i] = reinterpret_cast<uint64_t>(top);
  }
  // SWAPGS in the application changes nothing.
  write_msr(Msr::kKernelGsBase, block);
  tables.task_state.io_map_base = sizeof(CpuTables::TaskState);

  auto tss = reinterpret_cast<uint64_t>(&tables.task_state);
  tables.gdt[0] = 0;
  tables.gdt[kApplicationCs / 8] = 0x00af'9b00'0000'ffff;
  tables.gdt[kApplicationSs / 8] = 0x00cf'9300'0000'ffff;
  // 64-bit TSS descriptor [SDM 3A 8.2.3]: base in four pieces, type 9 (available), present.
  tables.gdt[3] = (sizeof(CpuTables::TaskState) - 1) | ((tss & 0xff'ffff) << 16) |
                  (uint64_t{0x89} << 40) | ((tss >> 24 & 0xff) << 56);
  tables.gdt[4] = tss >> 32;

  TablePointer gdt{sizeof(tables.gdt) - 1, reinterpret_cast<uint64_t>(tables.gdt)};
  TablePointer idt{sizeof(interrupt_table) - 1, reinterpret_cast<uint64_t>(interrupt_table)};
  asm volatile("lgdt %0; ltr %w1; lidt %2" : : "m"(gdt), "r"(kTaskSelector), "m"(idt) : "memory");

  // `syscall` loads CS from bits 47:32 and SS from that plus 8: the kernel's own ring-0 selectors.
  // There is no sysret: the application runs in ring 0 as well.
  static_assert(kApplicationSs == kApplicationCs + 8);
  write_msr(Msr::kStar, kApplicationCs << 32);
  write_msr(Msr::kLstar, reinterpret_cast<uint64_t>(&aril_syscall_entry));
  write_msr(Msr::kFmask, kSyscallFlagMask);
}

}  // namespace aril::arch
