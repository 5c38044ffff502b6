#include "arch/upcalls.hpp"
#include "arch/watch.hpp"
#include "kernel/log/log.hpp"
#include "kernel/log/panic_at.hpp"

namespace aril {
namespace {

const char* exception_name(unsigned vector) {
  constexpr const char* kNames[] = {"divide error",
                                    "debug",
                                    "NMI",
                                    "breakpoint",
                                    "overflow",
                                    "bound range",
                                    "invalid opcode",
                                    "no FPU",
                                    "double fault",
                                    "coprocessor overrun",
                                    "invalid TSS",
                                    "segment not present",
                                    "stack fault",
                                    "general protection",
                                    "page fault",
                                    "reserved",
                                    "x87 error",
                                    "alignment check",
                                    "machine check",
                                    "SIMD error"};
  return vector < std::size(kNames) ? kNames[vector] : "exception";
}

}  // namespace

extern "C" void arch::aril_on_kernel_exception(const TrapFrame& frame, unsigned vector,
                                               uint64_t address) {
  constexpr unsigned kPageFault = 14;
  write_record("report kernel: %s%s 0x%lx, error code 0x%lx", exception_name(vector),
               vector == kPageFault ? " at address" : " at", address, frame.error_code);
  write_record("report   rax %016lx rbx %016lx rcx %016lx rdx %016lx", frame.rax, frame.rbx,
               frame.rcx, frame.rdx);
  write_record("report   rsi %016lx rdi %016lx rbp %016lx rsp %016lx", frame.rsi, frame.rdi,
               frame.rbp, frame.rsp);
  write_record("report   r8  %016lx r9  %016lx r10 %016lx r11 %016lx", frame.r8, frame.r9,
               frame.r10, frame.r11);
  write_record("report   r12 %016lx r13 %016lx r14 %016lx r15 %016lx", frame.r12, frame.r13,
               frame.r14, frame.r15);
  log_backtrace(frame.rip, frame.rbp);
  panic("%s in the kernel", exception_name(vector));
}

extern "C" void arch::aril_on_stuck_cpu(const TrapFrame& frame, unsigned seconds) {
  constexpr uint64_t kInterruptFlag = 0x200;
  panic_at(frame.rip, frame.rbp, "stuck in the kernel for %u s, interrupts %s", seconds,
           (frame.rflags & kInterruptFlag) != 0 ? "on" : "off");
}

extern "C" void arch::aril_on_lost_interrupts(const TrapFrame& frame) {
  panic_at(frame.rip, frame.rbp, "the local APIC was switched off");
}

}  // namespace aril
