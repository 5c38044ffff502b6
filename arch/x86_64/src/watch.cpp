#include "arch/watch.hpp"

#include "arch/layout.hpp"
#include "machine.hpp"

/// The host's watch over the machine. The application runs in ring 0: it can switch interrupts off,
/// or jump into the kernel, and nothing inside would notice. `aril run` therefore sends an NMI to
/// all CPUs every now and then, more often while one has interrupts off (tools/aril/relay). Each
/// answers by counting in its debug register 3, which the host reads beside the others, and looks
/// whether it is stuck itself.
namespace aril::arch {
namespace {

constexpr uint64_t kInterruptFlag = 0x200;
constexpr std::byte kHalt{0xf4};
// The kernel is not preempted, and some of what it does takes long on a slow machine.
constexpr uint64_t kStuckSecondsWithoutInterrupts = 20;
constexpr uint64_t kStuckSeconds = 60;
/// In reschedule_needed: cleared with it by whoever gives the CPU away or returns to the
/// application.
constexpr uint32_t kWatchMark = 4;

/// cycles() when this CPU was first seen in the kernel since the mark was last cleared. Its own
/// only.
constinit uint64_t marked_at[kMaxCpus] = {};

void count_answer() {
  uint64_t count;
  asm volatile("movq %%dr3, %0" : "=r"(count));
  asm volatile("movq %0, %%dr3" : : "r"(count + 1));
}

void check_progress(const TrapFrame& frame) {
  CpuBlock& cpu = this_cpu();
  uint64_t& since = marked_at[cpu.index];
  uint32_t before = __atomic_fetch_or(&cpu.reschedule_needed, kWatchMark, __ATOMIC_RELAXED);
  if ((before & kWatchMark) == 0) {
    since = cycles();
    return;
  }
  uint64_t seconds = (cycles() - since) / cycles_per_second();
  bool interrupts = (frame.rflags & kInterruptFlag) != 0;
  if (seconds < (interrupts ? kStuckSeconds : kStuckSecondsWithoutInterrupts)) return;
  aril_on_stuck_cpu(frame, static_cast<unsigned>(seconds));
}

}  // namespace

// The first count tells that this kernel answers at all.
void begin_watch() { asm volatile("movq %0, %%dr3" : : "r"(uint64_t{1})); }

void answer_watch(TrapFrame& frame) {
  count_answer();
  // The application may have raised the priority below which interrupts wait.
  asm volatile("movq %0, %%cr8" : : "r"(uint64_t{0}));
  if (!local_apic::is_enabled()) aril_on_lost_interrupts(frame);
  if (is_application_address(frame.rip)) return;
  // Kernel code: it is mapped.
  if (*reinterpret_cast<const std::byte*>(frame.rip) == kHalt) {
    // Between STI and HLT of an idle CPU. An interrupt that comes when this NMI returns would be
    // handled before HLT, which would then sleep through what it announced.
    ++frame.rip;
    return;
  }
  check_progress(frame);
}

}  // namespace aril::arch
