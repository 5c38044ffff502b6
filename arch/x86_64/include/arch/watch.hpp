#pragma once
#include "arch/trap_frame.hpp"

namespace aril::arch {

/// platform/: this CPU has been in the kernel for `seconds` without giving the CPU away or
/// returning to the application. Reports and stops the machine. In an NMI: nothing that takes a
/// lock.
extern "C" [[noreturn]] void aril_on_stuck_cpu(const TrapFrame& frame, unsigned seconds);
/// platform/: this CPU's local APIC was switched off: no timer, no interrupt from a device.
/// Likewise.
extern "C" [[noreturn]] void aril_on_lost_interrupts(const TrapFrame& frame);

}  // namespace aril::arch
