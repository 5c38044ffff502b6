#pragma once
#include <cstdint>

#include "arch/cpu_block.hpp"

/// A virtual CPU is a thread of the host, its GS base this block's address for ever. Interrupts are
/// signals: the handler takes them at once when they are enabled, else notes them in the block
/// (arch/process/src/signals.cpp).
namespace aril::arch {

inline bool interrupts_enabled() {
  uint32_t enabled;
  asm volatile("movl %%gs:0x48, %0" : "=r"(enabled));
  return enabled != 0;
}
// "memory": no access may move into or out of the section that runs without interrupts.
inline void disable_interrupts() { asm volatile("movl $0, %%gs:0x48" ::: "memory"); }

/// Takes what came while interrupts were disabled, then leaves them enabled.
void take_pending_interrupts();
inline void enable_interrupts() {
  uint32_t pending;
  // In this order: what comes after the store is taken at once.
  asm volatile("movl $1, %%gs:0x48; movl %%gs:0x4c, %0" : "=r"(pending)::"memory");
  if (pending != 0) [[unlikely]]
    take_pending_interrupts();
}

/// Sleeps until an interrupt arrives or a watched descriptor is ready (arch/host_events.hpp).
/// Called with interrupts disabled and returns with them disabled; the interrupt is taken in
/// between. No wake-up is lost.
void wait_for_interrupt();

}  // namespace aril::arch

#include "arch/interrupt_guard.hpp"
