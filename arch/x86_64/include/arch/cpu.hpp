#pragma once
#include <cstdint>

#include "arch/cpu_block.hpp"

namespace aril::arch {

inline bool interrupts_enabled() {
  uint64_t flags;
  asm volatile("pushfq; popq %0" : "=r"(flags));
  return (flags & (1u << 9)) != 0;
}
// "memory": no access may move into or out of the section that runs without interrupts.
inline void disable_interrupts() { asm volatile("cli" ::: "memory"); }
inline void enable_interrupts() { asm volatile("sti" ::: "memory"); }

/// Halts until an interrupt arrives. Called with interrupts disabled and returns with them
/// disabled; the interrupt is taken in between. No wake-up is lost: `sti` takes effect only after
/// the following `hlt` has begun [SDM 2B, STI].
inline void wait_for_interrupt() { asm volatile("sti; hlt; cli" ::: "memory"); }

}  // namespace aril::arch

#include "arch/interrupt_guard.hpp"
