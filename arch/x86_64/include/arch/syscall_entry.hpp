#pragma once
#include <cstdint>

#include "arch/layout.hpp"
#include "arch/trap_frame.hpp"

/// How application code enters the kernel for a system call, and what it finds when it comes back.
/// There are two doors with one meaning:
///
///   `syscall`            the CPU jumps to aril_syscall_entry (LSTAR).
///   aril_patched_entry   for call sites that linux/patch rewrote into a jump to a stub, or `aril
///                        build` (tools/aril/specialize/system_call_rewriter.hpp). The stub
///                        does what the instruction would have done to rcx, and jumps:
///                            stub:   movabs $address_after_the_site, %rcx   (or lea, RIP-relative)
///                                    jmp *aril_patched_entry's address       (absolute, in memory)
///                        or      jmp *%gs:0x50                 (CpuBlock::patched_entry)
///                        It must not touch any other register, the flags, or memory at or below
///                        RSP: the 128 bytes below it may be the caller's red zone.
///
/// Register contract, both doors, as Linux [System V ABI, AMD64 supplement, A.2.1]:
///   in    rax  the number; rdi rsi rdx r10 r8 r9  the arguments; rcx  where to continue
///         (r11 = RFLAGS for `syscall`; the patched door reads RFLAGS itself)
///   out   rax  the result; rcx = address continued at, r11 = RFLAGS then; all others, RFLAGS and
///   the
///         stack, its red zone included, as before, unless the kernel changed the frame.
/// The frame (TrapFrame) lies at the top of the thread's kernel stack; frame.error_code is the
/// number. Most calls neither look at the registers nor change them, so only those that C++ does
/// not keep for its callers are stored, once: rbx, rbp and r12 to r15 are wherever C++ has put
/// them, and again in place when it returns. Before anybody else sees the frame it is completed:
/// frame.rcx == frame.rip, frame.r11 == frame.rflags, IF set. Then the kernel may rewrite any
/// register of it (signal delivery, rt_sigreturn, execve, clone): while rcx == rip and r11 ==
/// rflags the way back is a plain jump, otherwise IRET restores all of them. The kernel must keep
/// rflags within kApplicationFlags and IF set.
namespace aril::arch {

extern "C" void aril_syscall_entry();
extern "C" void aril_patched_entry();

/// Stands in the table of calls for those whose handlers take the registers: completes the frame,
/// calls aril_on_system_call_with_registers (upcalls.hpp), and goes back to the application.
/// Reached only by a tail call from aril_on_system_call, to which it does not return.
extern "C" int64_t aril_call_with_registers(TrapFrame& frame);

/// RFLAGS bits that an application may choose (CF PF AF ZF SF TF DF OF RF AC ID); the reserved bit
/// 1 and IF are always set.
inline constexpr uint64_t kApplicationFlags = 0x0025'0dd5;
inline constexpr uint64_t kApplicationFlagsAlways = 0x202;

}  // namespace aril::arch
