#include "arch/page_table.hpp"
#include "arch/trap_frame.hpp"
#include "arch/upcalls.hpp"
#include "machine.hpp"

namespace aril::arch {
namespace {

// Exception vectors [SDM 3A 6.15].
constexpr unsigned kDebug = 1, kNmi = 2, kGeneralProtection = 13, kPageFault = 14;

struct Fixup {
  uint64_t at, resume;
};
extern "C" const Fixup __start_aril_fixups[], __stop_aril_fixups[];

/// Continues a user access routine where it handles its fault.
bool apply_fixup(TrapFrame& frame) {
  for (const Fixup* fixup = __start_aril_fixups; fixup != __stop_aril_fixups; ++fixup) {
    if (fixup->at != frame.rip) continue;
    frame.rip = fixup->resume;
    return true;
  }
  return false;
}

constexpr bool is_application_address(uint64_t address) {
  return static_cast<int64_t>(address) >= 0;
}

/// Interrupts as they were where the exception happened, for a scope.
class InterruptsAsBefore {
 public:
  explicit InterruptsAsBefore(const TrapFrame& frame) {
    if ((frame.rflags & 0x200) != 0) enable_interrupts();
  }
  ~InterruptsAsBefore() { disable_interrupts(); }
};

bool resolve_page_fault(TrapFrame& frame, uint64_t address) {
  // Above the application's range nothing is filled on demand: an access there is an error.
  if (!is_application_address(address)) return false;
  PageFault fault{
      .address = address,
      .present = (frame.error_code & 1) != 0,
      .write = (frame.error_code & 2) != 0,
      .instruction_fetch = (frame.error_code & 16) != 0,
  };
  // The kernel never executes application code on its own behalf.
  if (fault.instruction_fetch && !is_application_address(frame.rip)) return false;
  InterruptsAsBefore interrupts(frame);
  return aril_on_page_fault(frame, fault);
}

void handle_exception(TrapFrame& frame, unsigned vector) {
  uint64_t address = vector == kPageFault ? read_cr2() : frame.rip;
  if (vector == kPageFault && resolve_page_fault(frame, address)) return;
  if (is_application_address(frame.rip)) {
    InterruptsAsBefore interrupts(frame);
    aril_on_application_exception(frame, vector, address);
    return;
  }
  if ((vector == kPageFault || vector == kGeneralProtection) && apply_fixup(frame)) return;
  if (vector == kDebug) {
    // An application that single-steps itself into the kernel through a patched call site.
    frame.rflags &= ~uint64_t{0x100};
    return;
  }
  aril_on_kernel_exception(frame, vector, address);
}

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
    handle_exception(frame, static_cast<unsigned>(vector));
  } else {
    handle_interrupt(static_cast<unsigned>(vector));
  }
  if (!is_application_address(frame.rip)) return;
  while (__atomic_load_n(&this_cpu().reschedule_needed, __ATOMIC_RELAXED) != 0) {
    enable_interrupts();
    aril_before_return_to_application(frame);
    disable_interrupts();
  }
}

/// From entry.S, on an interrupt stack: NMI, double fault, machine check, kernel stack overflow.
extern "C" void aril_on_trap_in_place(TrapFrame& frame, uint64_t vector) {
  if (vector == kNmi) {
    while (__atomic_load_n(&halting, __ATOMIC_RELAXED)) asm volatile("cli; hlt");
    return;  // a stray NMI has no meaning for a virtual machine
  }
  uint64_t address = vector == kPageFault ? read_cr2() : frame.rip;
  aril_on_kernel_exception(frame, static_cast<unsigned>(vector), address);
}

}  // namespace aril::arch
