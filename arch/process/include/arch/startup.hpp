#pragma once
#include <cstdint>
#include <string_view>

#include "arch/cpu.hpp"
#include "arch/page_table.hpp"
#include "base/process_abi.hpp"

/// What platform/process calls once, in this order. entry.S has set the boot CPU's GS base and
/// stack before it calls aril_kernel_main.
namespace aril::arch {

/// What the tender passed, copied. Lives for ever.
const ProcessBoot& boot_information();

/// CPU features; checks that this host has what is needed: an explanation when it has not. Signals
/// are handled from here on.
const char* initialize_boot_cpu(const ProcessBoot& boot);

/// How reports name system calls: null for a number that has no name.
void set_call_names(const char* (*name_of)(uint64_t number));

/// Unmaps what the tender has left: its code, stack and heap. The boot structure is copied by then.
void forget_tender();

/// The TSC at the tender's rate, corrected against the host's clock.
void initialize_clock();

/// Starts the virtual CPU that the tender made with this number, which must be cpu_count(): it runs
/// `entry` on its start stack, interrupts disabled, and counts from then on.
void start_cpu(unsigned index, void (*entry)());

}  // namespace aril::arch
