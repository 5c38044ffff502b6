#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace aril {
class Thread;
}

namespace aril::arch {

inline constexpr unsigned kMaxCpus = ARIL_MAX_CPUS;

/// One CPU's block, found through the GS base, which belongs to the kernel at all times: Aril's
/// applications run at the kernel's privilege level and use only FS. Assembly and the compiler's
/// stack protector (-mstack-protector-guard-offset) depend on the offsets.
struct CpuBlock {
  CpuBlock* self;          ///< 0x00
  Thread* current_thread;  ///< 0x08
  uint64_t
      kernel_stack_top;  ///< 0x10 of the current thread; where entry from the application starts
  uint64_t application_rsp;        ///< 0x18 scratch for system-call entry
  uint32_t index;                  ///< 0x20 dense, 0 is the boot CPU
  uint32_t preempt_disable_count;  ///< 0x24 spinlocks held and explicit guards
  uint64_t stack_canary;           ///< 0x28
  uint32_t reschedule_needed;      ///< 0x30 tested on return to the application: set to 1 by
                                   ///< wake-ups and the timer
  uint32_t interrupt_depth;        ///< 0x34 nonzero inside an interrupt handler
  uint32_t apic_id;                ///< 0x38
  uint32_t reserved;
  uint64_t kernel_stack_bottom;  ///< 0x40 of the current thread
  // Where interrupts are signals of a host (arch/process), these stand for the CPU's own flag.
  uint32_t interrupts_enabled;  ///< 0x48
  uint32_t interrupts_pending;  ///< 0x4c one bit for each kind that came while disabled
  void (*patched_entry)();      ///< 0x50 for programs that `aril build` rewrote (syscall_entry.hpp)
  /// 0x58 of the application thread that runs: nonzero when it has something to do before it
  /// returns to the application (aril_before_return_to_application). Tested beside
  /// reschedule_needed.
  const std::atomic<uint32_t>* return_work;
};
static_assert(offsetof(CpuBlock, stack_canary) == 0x28);
static_assert(offsetof(CpuBlock, reschedule_needed) == 0x30);
static_assert(offsetof(CpuBlock, kernel_stack_bottom) == 0x40);
static_assert(offsetof(CpuBlock, interrupts_enabled) == 0x48);
static_assert(offsetof(CpuBlock, interrupts_pending) == 0x4c);
static_assert(offsetof(CpuBlock, patched_entry) == 0x50);
static_assert(offsetof(CpuBlock, return_work) == 0x58);

inline CpuBlock& this_cpu() {
  CpuBlock* block;
  // volatile: a thread may continue on another CPU, so the value must not be reused across calls.
  asm volatile("movq %%gs:0, %0" : "=r"(block));
  return *block;
}
inline unsigned cpu_index() {
  uint32_t index;
  asm volatile("movl %%gs:0x20, %0" : "=r"(index));
  return index;
}
inline Thread* current_thread() {
  Thread* thread;
  asm volatile("movq %%gs:0x08, %0" : "=r"(thread));
  return thread;
}

/// Whether aril_before_return_to_application is to be called: an application thread runs here, and
/// is in the kernel.
inline bool has_return_work() {
  const CpuBlock& cpu = this_cpu();
  return __atomic_load_n(&cpu.reschedule_needed, __ATOMIC_RELAXED) != 0 ||
         cpu.return_work->load(std::memory_order_relaxed) != 0;
}

/// What cpu_count() tells; arch's own to change.
extern std::atomic<unsigned> running_cpus;

/// CPUs that run the scheduler, and any CPU's block. 1 until the others have started.
inline unsigned cpu_count() {
  // Acquire: whoever sees a CPU's count sees its block.
  return kMaxCpus == 1 ? 1 : running_cpus.load(std::memory_order_acquire);
}
CpuBlock& cpu_block(unsigned index);

/// Inside a spin loop.
inline void relax() { asm volatile("pause"); }

/// The free-running cycle counter (TSC). Its rate is the clock's business: kernel/time.
inline uint64_t cycles() {
  uint32_t low, high;
  asm volatile("rdtsc" : "=a"(low), "=d"(high));
  return (uint64_t{high} << 32) | low;
}

/// Makes another CPU notice its reschedule_needed flag or its changed timer queue soon.
/// Any thread or interrupt.
void send_reschedule(unsigned cpu);

/// A word from the CPU's hardware generator (RDSEED, else RDRAND) in `out`; false when it has none
/// or it gave nothing this time.
bool hardware_random(uint64_t& out);

/// Stops every CPU for good. Used by panic after the report.
[[noreturn]] void halt_all();

}  // namespace aril::arch
