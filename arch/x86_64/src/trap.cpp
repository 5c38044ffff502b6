#include "arch/upcalls.hpp"
#include "exceptions.hpp"
#include "machine.hpp"

namespace aril::arch {
namespace {

// [SDM 3A 6.15]
constexpr unsigned kNmi = 2, kPageFault = 14;

void handle_interrupt(unsigned vector) {
  CpuBlock& cpu = this_cpu();
  ++cpu.interrupt_depth;
  // Devices are acknowledged after their handlers, which silence a level-triggered line; an edge
  // that comes meanwhile stays pending in the APIC.
  switch (vector) {
    case kSpuriousVector:
      break;  // not acknowledged [SDM 3A 11.9]
    case kTimerVector:
      local_apic::end_of_interrupt();
      aril_on_timer_interrupt();
      break;
    case kRescheduleVector:
      local_apic::end_of_interrupt();
      break;  // the flag is set already
    case kTlbFlushVector:
      handle_tlb_flush();
      local_apic::end_of_interrupt();
      break;
    default:
      dispatch_device_interrupt(vector);
      local_apic::end_of_interrupt();
      break;
  }
  --cpu.interrupt_depth;
}

}  // namespace

/// From entry.S, on the thread's kernel stack, interrupts disabled; `frame` is restored by IRET.
extern "C" void aril_on_trap(TrapFrame& frame, uint64_t vector) {
  if (vector < 32) {
    auto number = static_cast<unsigned>(vector);
    handle_exception(frame, number, number == kPageFault ? read_cr2() : frame.rip);
  } else {
    handle_interrupt(static_cast<unsigned>(vector));
  }
  if (!is_application_address(frame.rip)) return;
  while (has_return_work()) {
    enable_interrupts();
    aril_before_return_to_application(frame);
    disable_interrupts();
  }
}

/// From entry.S, on an interrupt stack: NMI, double fault, machine check, kernel stack overflow.
extern "C" void aril_on_trap_in_place(TrapFrame& frame, uint64_t vector) {
  if (vector == kNmi) {
    while (__atomic_load_n(&halting, __ATOMIC_RELAXED)) asm volatile("cli; hlt");
    answer_watch(frame);
    return;
  }
  uint64_t address = vector == kPageFault ? read_cr2() : frame.rip;
  aril_on_kernel_exception(frame, static_cast<unsigned>(vector), address);
}

}  // namespace aril::arch
