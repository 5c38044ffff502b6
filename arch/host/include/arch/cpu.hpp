#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace aril {
class Thread;
}

/// The fake CPU of unit tests: one CPU, which is whichever host thread runs the test. Interrupts
/// are a flag that is kept, so that code which must restore it can be checked.
namespace aril::arch {

inline constexpr unsigned kMaxCpus = 32;

struct CpuBlock {
  CpuBlock* self;
  Thread* current_thread;
  uint64_t kernel_stack_top;
  uint64_t application_rsp;
  uint32_t index;
  uint32_t preempt_disable_count;
  uint64_t stack_canary;
  uint32_t reschedule_needed;
  uint32_t interrupt_depth;
  uint32_t apic_id;
  uint32_t reserved;
  uint64_t kernel_stack_bottom;
  const std::atomic<uint32_t>* return_work;
};

extern CpuBlock host_cpu;
extern bool host_interrupts_enabled;

inline CpuBlock& this_cpu() { return host_cpu; }
inline unsigned cpu_index() { return 0; }
inline Thread* current_thread() { return host_cpu.current_thread; }
inline unsigned cpu_count() { return 1; }
inline CpuBlock& cpu_block(unsigned) { return host_cpu; }

inline bool interrupts_enabled() { return host_interrupts_enabled; }
inline void disable_interrupts() { host_interrupts_enabled = false; }
inline void enable_interrupts() { host_interrupts_enabled = true; }
void wait_for_interrupt();
inline void relax() {}
uint64_t cycles();
inline void send_reschedule(unsigned) {}
bool hardware_random(uint64_t& out);

[[noreturn]] void halt_all();

}  // namespace aril::arch

#include "arch/interrupt_guard.hpp"
