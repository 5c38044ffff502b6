#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "arch/cpu.hpp"
#include "arch/page_table.hpp"
#include "base/result.hpp"

/// What platform/vm calls once, in this order, to bring the machine up. boot.S has made 64-bit
/// mode, the first mappings (1 GiB of direct map, the kernel image), a stack and the boot CPU's
/// block before it calls aril_kernel_main.
namespace aril::arch {

enum class BootProtocol : uint32_t { kPvh = 0, kLinux64 = 1 };

/// The root of the tree that boot made; PageTable::kernel() wraps it. Its upper half has every
/// top-level entry that will ever be used, so that other trees may copy them.
PhysicalAddress boot_page_table_root();

/// Descriptor tables, control registers, FPU: the boot CPU takes exceptions from here on.
void initialize_boot_cpu();

struct MemoryRegion {
  PhysicalAddress start, end;
  enum class Kind : uint8_t { kUsable, kReserved, kAcpi } kind;
};

/// What the loader said, copied out of the memory it left it in.
struct BootInformation {
  BootProtocol protocol;
  std::span<const MemoryRegion> memory;  ///< sorted by start, not overlapping
  std::string_view command_line;
  PhysicalAddress module_start = 0;  ///< the initrd; 0 when there is none
  uint64_t module_size = 0;
  PhysicalAddress rsdp = 0;  ///< 0 when the loader did not say
};
/// `address` is the start info [xen/arch-x86/hvm/start_info.h] or boot_params [linux boot.rst].
/// kInval when it is not one; kNoMem when it names no usable memory. The result is the same
/// object each time: a thawed machine has another loader (arch/freeze.hpp).
Result<const BootInformation*> read_boot_information(BootProtocol protocol,
                                                     PhysicalAddress address);

/// Extends the direct map over the regions, with table pages from the end of the kernel image's
/// pool, then from usable memory (`taken`, which the page allocator must then leave alone).
/// Gives the kernel image its final permissions (W^X), and drops the identity mapping.
Result<void> map_physical_memory(std::span<const MemoryRegion> regions, PhysicalAddress pool_start,
                                 size_t pool_size, size_t& pool_used);
/// An upper bound for pool_used.
size_t direct_map_table_bytes(std::span<const MemoryRegion> regions);

/// The kernel image in physical memory, bss included, page-aligned.
struct ImageExtent {
  PhysicalAddress start, end;
};
ImageExtent kernel_image();

/// Interrupt controllers: what ACPI's MADT says, or the defaults of a PC.
struct InterruptConfig {
  struct IoApic {
    PhysicalAddress address;
    uint32_t first_gsi;
  };
  /// An ISA line that is not identity-mapped, edge-triggered and active-high.
  struct IsaOverride {
    uint8_t line;
    uint32_t gsi;
    bool level_triggered, active_low;
  };
  PhysicalAddress local_apic = 0xfee0'0000;
  std::span<const IoApic> io_apics;
  std::span<const IsaOverride> isa_overrides;
  bool has_legacy_pic = true;
  /// Maps device registers uncached (heap::map_device).
  std::byte* (*map_device)(unsigned long physical, size_t size) = nullptr;
};
/// The local APIC of this CPU and the I/O APICs, all lines masked; then enables nothing: the caller
/// enables interrupts when the scheduler stands. kNoMem.
Result<void> initialize_interrupts(const InterruptConfig& config);

/// Where time comes from. 0 means unknown.
struct ClockConfig {
  uint64_t tsc_khz = 0;
  int64_t epoch_ns = 0;
  uint16_t acpi_timer_port = 0;  ///< the ACPI PM timer's, 0 when there is none
  bool has_cmos_clock = true;
  int64_t start_ns = 0;         ///< what the clock shows at the machine's first instruction
  bool in_applications = true;  ///< may they read it by themselves (CycleScale::usable)
};
/// Chooses the clock and this CPU's timer. Takes less than a millisecond. After
/// initialize_interrupts.
void initialize_clock(const ClockConfig& config);
/// "tsc (cpuid)", "kvm-clock"... for the log and sysfs.
std::string_view clock_source_name();

/// Memory that a further CPU needs for its block, descriptor tables and stacks.
inline constexpr size_t kCpuMemorySize = 64 * 1024;
/// Starts the CPU with this local APIC id: it runs `entry` on a stack of its own, interrupts
/// disabled, and counts in cpu_count() from then on. `memory` is kCpuMemorySize bytes,
/// page-aligned, never freed. `trampoline` is a free page of RAM below 1 MiB. kTimedOut when it did
/// not answer.
Result<void> start_cpu(uint32_t apic_id, std::span<std::byte> memory, PhysicalAddress trampoline,
                       void (*entry)());

/// This CPU's local APIC id.
uint32_t local_apic_id();

/// Resets by a triple fault: the last resort of power-off under `-no-reboot`.
[[noreturn]] void triple_fault();

}  // namespace aril::arch
