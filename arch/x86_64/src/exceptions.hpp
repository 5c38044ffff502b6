#pragma once
#include <cstdint>

#include "arch/trap_frame.hpp"

namespace aril::arch {

/// Resolves an exception, makes a signal of it, or reports it as the kernel's own. `address` is
/// what a page fault missed, else the instruction. On the thread's kernel stack, interrupts
/// disabled; frame.rflags tells whether they were enabled.
void handle_exception(TrapFrame& frame, unsigned vector, uint64_t address);

}  // namespace aril::arch
