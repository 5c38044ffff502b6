#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "arch/cpu.hpp"
#include "arch/page_table.hpp"
#include "arch/startup.hpp"
#include "arch/trap_frame.hpp"
#include "base/time.hpp"
#include "features.hpp"

/// What the files of arch/x86_64 share: instructions, and each other's start-up steps.
namespace aril::arch {

// Model-specific registers [SDM 4, 2.1].
enum class Msr : uint32_t {
  kTscDeadline = 0x6e0,
  kApicBase = 0x1b,
  kX2ApicBase = 0x800,
  kPat = 0x277,
  kEfer = 0xc000'0080,
  kStar = 0xc000'0081,
  kLstar = 0xc000'0082,
  kFmask = 0xc000'0084,
  kFsBase = 0xc000'0100,
  kGsBase = 0xc000'0101,
  kKernelGsBase = 0xc000'0102,
  kKvmWallClock = 0x4b56'4d00,  // [linux/Documentation/virt/kvm/x86/msr.rst]
  kKvmSystemTime = 0x4b56'4d01,
};
inline uint64_t read_msr(uint32_t msr) {
  uint32_t low, high;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
  return (uint64_t{high} << 32) | low;
}
inline uint64_t read_msr(Msr msr) { return read_msr(static_cast<uint32_t>(msr)); }
// "memory": what was written before must be there when the register takes effect (x2APIC, tables).
inline void write_msr(uint32_t msr, uint64_t value) {
  asm volatile("wrmsr"
               :
               : "c"(msr), "a"(static_cast<uint32_t>(value)),
                 "d"(static_cast<uint32_t>(value >> 32))
               : "memory");
}
inline void write_msr(Msr msr, uint64_t value) { write_msr(static_cast<uint32_t>(msr), value); }

inline uint64_t read_cr3() {
  uint64_t value;
  asm volatile("movq %%cr3, %0" : "=r"(value));
  return value;
}
inline void write_cr3(uint64_t value) { asm volatile("movq %0, %%cr3" : : "r"(value) : "memory"); }
inline uint64_t read_cr4() {
  uint64_t value;
  asm volatile("movq %%cr4, %0" : "=r"(value));
  return value;
}
inline void write_cr4(uint64_t value) { asm volatile("movq %0, %%cr4" : : "r"(value) : "memory"); }
inline uint64_t read_cr2() {
  uint64_t value;
  asm volatile("movq %%cr2, %0" : "=r"(value));
  return value;
}

/// Drops every translation of this CPU, global ones included [SDM 3A 4.10.4.1].
inline void flush_this_tlb() {
  uint64_t cr4 = read_cr4();
  write_cr4(cr4 & ~uint64_t{0x80});
  write_cr4(cr4);
}

/// The page tables that this CPU was last told to use, after the CPU has lost them.
void restore_active_tables();

void detect_features();

// Vectors of the kernel's own; devices have 32..239.
inline constexpr uint8_t kTimerVector = 0xf0;
inline constexpr uint8_t kRescheduleVector = 0xf1;
inline constexpr uint8_t kTlbFlushVector = 0xf2;
inline constexpr uint8_t kSpuriousVector = 0xff;
inline constexpr unsigned kFirstDeviceVector = 32;
inline constexpr unsigned kDeviceVectorEnd = 240;

/// A CPU's descriptor tables and the stacks that interrupts and faults arrive on.
struct alignas(16) CpuTables {
  static constexpr size_t kInterruptStackSize = 4096;
  static constexpr size_t kInterruptStacks = 4;
  struct [[gnu::packed]] TaskState {  // [SDM 3A 8.7] 64-bit TSS
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_map_base;
  };
  alignas(16) TaskState task_state;
  alignas(16) uint64_t gdt[5];
  alignas(16) std::byte stacks[kInterruptStacks][kInterruptStackSize];
};
static_assert(sizeof(CpuTables::TaskState) == 104);

/// Loads GDT, TSS, IDT and the system-call registers of this CPU.
void load_descriptor_tables(CpuTables& tables);
void build_interrupt_table();
/// Control registers, FPU. Same on every CPU.
void enable_cpu_features();
/// Both for the boot CPU, when the interrupt table and the features are known.
void restore_boot_cpu();

/// The blocks of all CPUs, by index.
void register_cpu(CpuBlock& block);

namespace local_apic {
/// Maps nothing itself; `registers` is null when x2APIC is used.
void initialize(std::byte* registers);
/// Secondary CPUs, after the boot CPU's initialize.
void enable_this_cpu();
void end_of_interrupt();
/// False when something has switched this CPU's off. Any context.
bool is_enabled();
/// `vector_and_mode` is the low half of the interrupt command register [SDM 3A 11.6.1].
void send_ipi(uint32_t apic_id, uint32_t vector_and_mode);
inline constexpr uint32_t kDeliverFixed = 0, kDeliverNmi = 4u << 8, kDeliverInit = 5u << 8,
                          kDeliverStartup = 6u << 8, kLevelAssert = 1u << 14;
void set_timer_deadline_mode();
void set_timer_one_shot_mode();
void set_timer_count(uint32_t count);
uint32_t timer_count();
}  // namespace local_apic

/// Calls the handlers of a device vector.
void dispatch_device_interrupt(unsigned vector);
Result<void> initialize_io_apics(const InterruptConfig& config);
/// TLB flush requests from other CPUs.
void handle_tlb_flush();
/// Secondary CPUs: arms nothing, but makes set_timer usable.
void initialize_timer_on_this_cpu();
/// Boot CPU, before it starts another: only its own timer counts from start-up on.
void finish_timer_measurement();
/// Reads the clock sources that must be enabled on each CPU (kvmclock).
void initialize_clock_on_this_cpu();

/// The TSC's rate as far as it is known. Any context, NMIs included.
uint64_t cycles_per_second();

/// The TSC's value at a time, for deadlines.
uint64_t cycles_at(Instant time);

/// This CPU answers the host's questions from now on.
void begin_watch();
/// An NMI that found this CPU in the kernel, or in the application with interrupts on: the host
/// asks whether it is alive (watch.cpp).
void answer_watch(TrapFrame& frame);

/// True once halt_all has begun: NMIs then stop the CPU.
extern bool halting;

}  // namespace aril::arch
