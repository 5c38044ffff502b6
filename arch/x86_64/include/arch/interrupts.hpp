#pragma once
#include <cstdint>

#include "base/result.hpp"

namespace aril::arch {

/// Runs in interrupt context: interrupts disabled, must not sleep or allocate; typically
/// acknowledges the device and wakes a thread or a WaitQueue.
using InterruptHandler = void (*)(void* argument);

/// An interrupt vector bound to a handler.
struct InterruptVector {
  uint8_t vector;
};

/// Reserves a free vector (32..239) for a message-signalled interrupt. kNoSpc when none is left.
/// Thread context, during device start-up.
Result<InterruptVector> allocate_vector(InterruptHandler handler, void* argument);

/// The address and data that a device writes to raise `vector` on `cpu` [SDM 3A 11.11].
struct MsiMessage {
  uint64_t address;
  uint32_t data;
};
MsiMessage msi_message(InterruptVector vector, unsigned cpu);

enum class TriggerMode : uint8_t { kEdge, kLevel };
enum class Polarity : uint8_t { kActiveHigh, kActiveLow };

/// Routes a global system interrupt (I/O APIC pin) to `handler` on the boot CPU and unmasks it.
/// Several handlers may share a level-triggered line: each is called. kNoEnt when no I/O APIC
/// serves the line.
Result<void> connect_global_interrupt(uint32_t gsi, TriggerMode trigger, Polarity polarity,
                                      InterruptHandler handler, void* argument);
/// As above for an ISA line 0..15, after the MADT's overrides.
Result<void> connect_isa_interrupt(uint8_t line, InterruptHandler handler, void* argument);

}  // namespace aril::arch
