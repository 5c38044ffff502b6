#pragma once
#include <cstdint>

#include "arch/page_table.hpp"

/// A machine that is frozen: its memory becomes an image (`aril build --frozen`), and a machine
/// that boots from that image goes on where this one stopped (docs/frozen.md). Boot CPU, no other
/// runs.
namespace aril::arch {

/// Saves the calling flow and resets the machine. Comes back, once for each machine that boots from
/// the memory, with what its loader handed over (PVH); interrupts are disabled, the clock, the
/// interrupt controllers and the CPU's own registers are not set up (thaw_cpu).
PhysicalAddress freeze();

/// Where a machine that has the memory is to be entered, as PVH enters a kernel.
PhysicalAddress thaw_entry();

/// What CPUID says, but for what differs between two starts on the same machine. Programs and the
/// kernel choose their code by it.
uint64_t cpu_signature();

/// After freeze(): this CPU's registers, and the mappings as they were.
void thaw_cpu();

/// After freeze(), before or after thaw_cpu(): starts the kernel as if it had never run. `data` is
/// the physical address of a copy of its data segment as it stands in its file.
[[noreturn]] void start_cold(PhysicalAddress boot_data, PhysicalAddress data);

/// Bytes of the data segment's copy.
uint64_t cold_data_size();

}  // namespace aril::arch
