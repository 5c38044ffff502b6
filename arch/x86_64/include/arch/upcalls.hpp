#pragma once
#include <cstdint>

#include "arch/trap_frame.hpp"

/// What the trap code of arch/ calls. Each is defined exactly once by the layer that is named, and
/// bound when the image is linked: an indirect call would cost every system call and interrupt.
namespace aril::arch {

struct PageFault {
  uint64_t address;
  bool present;  ///< a protection violation; otherwise nothing was mapped
  bool write;
  bool instruction_fetch;
};

/// linux/: serves frame.system_call_number() and returns the result. On the thread's kernel stack,
/// interrupts enabled. arch returns to the application with interrupts enabled.
///
/// Of the frame just the arguments, rip, rflags, rsp and the number are there; it may not be
/// changed. Who needs more *jumps* to aril_call_with_registers (syscall_entry.hpp): the registers
/// that C++ keeps for its callers are still the application's at a tail call, and at no other
/// place.
extern "C" int64_t aril_on_system_call(TrapFrame& frame);
/// The same for a call that came through the `syscall` instruction, whose site may be patched.
extern "C" int64_t aril_on_trapped_system_call(TrapFrame& frame);
/// The same with a whole frame, which may be changed: the result is written into it, and what must
/// happen before the application goes on is done.
extern "C" void aril_on_system_call_with_registers(TrapFrame& frame);
/// After aril_on_system_call, when its result is kRestart or there is return work (CpuBlock): makes
/// the call again, delivers signals, reschedules. A whole frame, with the result in it.
extern "C" void aril_on_system_call_return(TrapFrame& frame);

/// kernel/memory (through platform/vm): resolves a fault at an application address (lower half),
/// by the application or by a kernel copy routine. True when the access may be retried. May
/// sleep; interrupts enabled if they were where the fault happened.
extern "C" bool aril_on_page_fault(TrapFrame& frame, const PageFault& fault);

/// linux/: an exception that application code raised (vector < 32, with a page fault that
/// aril_on_page_fault refused among them): turned into a signal. `address` is CR2 for a page
/// fault, else the instruction. Thread context, interrupts enabled.
extern "C" void aril_on_application_exception(TrapFrame& frame, unsigned vector, uint64_t address);

/// linux/: runs before an interrupt or exception returns to application code when
/// reschedule_needed is set, or the thread has return work: reschedules, then delivers signals.
/// Thread context, interrupts enabled.
extern "C" void aril_before_return_to_application(TrapFrame& frame);

/// kernel/time: the local timer fired. Interrupts disabled.
extern "C" void aril_on_timer_interrupt();

/// kernel/: an exception in kernel code that nothing handles. Reports and stops the machine.
extern "C" [[noreturn]] void aril_on_kernel_exception(const TrapFrame& frame, unsigned vector,
                                                      uint64_t address);

}  // namespace aril::arch
