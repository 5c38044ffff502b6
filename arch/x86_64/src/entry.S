// Ways into and out of the kernel: system calls and traps. The frame layout is
// arch/trap_frame.hpp, the register contract arch/syscall_entry.hpp, CpuBlock's offsets arch/cpu.hpp.
#include "registers.inc"

#define KERNEL_CS 0x08
#define KERNEL_SS 0x10
#define FLAG_IF   0x200
#define FLAG_NT   0x4000
// TF, DF, IOPL, NT, RF, AC, ID: the kernel runs without them, and only IRET gives them back. The others
// that a program sees come from arithmetic, and are restored by it.
#define UNUSUAL_FLAGS 0x257500
// Those of them that an interrupt leaves as they are: DF, IOPL, AC, ID.
#define FLAGS_KEPT_BY_TRAP 0x243400
#define KERNEL_FLAGS  0x202

#define GENERAL_PROTECTION 13
#define MSR_GS_BASE 0xc0000101

// The least room that must be left on a kernel stack to build a frame and report an overflow.
#define STACK_RESERVE 1024

// A section of its own, so that the gate and the dispatcher behind it (linux/entry) are neighbours.
    .section .text.system_call, "ax", @progbits

// RFLAGS are masked by FMASK: interrupts are off until the frame stands.
    .balign 16
    .globl aril_syscall_entry
aril_syscall_entry:
    movq %rsp, CPU_APPLICATION_RSP
    movq CPU_KERNEL_STACK_TOP, %rsp
    subq $FRAME_SIZE, %rsp
    movq %rax, FRAME_NUMBER(%rsp)
    movq CPU_APPLICATION_RSP, %rax
    movq %rax, FRAME_RSP(%rsp)
    orl $FLAG_IF, %r11d
    movq %r11, FRAME_RFLAGS(%rsp)
    STORE_CALL_REGISTERS
    sti
    movq %rsp, %rdi
    subq $8, %rsp                    // as below
    call aril_on_trapped_system_call
    jmp system_call_done

// Interrupts are on here. One that comes before RSP is on the kernel stack puts its frame at the top
// of that stack, which is free; and kernel code is not preempted, so the CPU stays the same.
    .balign 16
    .globl aril_patched_entry
aril_patched_entry:
    movq %rsp, %r11                  // the flags are still the application's: no arithmetic
patched_entry_uses_gs:
    movq CPU_KERNEL_STACK_TOP, %rsp
    leaq -8(%rsp), %rsp
    pushq %r11
    pushfq
    leaq -FRAME_RFLAGS(%rsp), %rsp
    movq FRAME_RFLAGS(%rsp), %r11
    movq %rax, FRAME_NUMBER(%rsp)
    movl %r11d, %eax
    xorl $FLAG_IF, %eax
    testl $(UNUSUAL_FLAGS | FLAG_IF), %eax
    jnz repair_flags
flags_are_right:
    STORE_CALL_REGISTERS

// RBX, RBP and R12 to R15 stay the application's until C++ has a use for them, and are again when it
// returns. A backtrace ends where RBP is not on the kernel stack.
    movq %rsp, %rdi
    subq $8, %rsp                    // FRAME_SIZE is 8 mod 16, the ABI wants 0 before a call
    call aril_on_system_call
system_call_done:
    addq $8, %rsp
    movq %rax, FRAME_RAX(%rsp)
    cmpq $RESULT_RESTART, %rax
    je return_work
// Interrupts stay on: POPFQ and CLI would cost more than all the rest. An interrupt that comes before
// the jump must not leave work behind that was to be done first, so trap_common sends its return to the
// start of this sequence. Until RSP is loaded it changes nothing but registers, and it finds them in the
// frame again.
aril_return_begin:
    cmpl $0, CPU_RESCHEDULE_NEEDED
    jne return_work
    movq CPU_RETURN_WORK, %rcx
    cmpl $0, (%rcx)
    jne return_work
    movq FRAME_RFLAGS(%rsp), %r11
    movq FRAME_RIP(%rsp), %rcx
    testl $UNUSUAL_FLAGS, %r11d
    jnz return_unusual_flags
    LOAD_ARITHMETIC_FLAGS
    LOAD_CALL_REGISTERS
    movq FRAME_RSP(%rsp), %rsp
// An interrupt here would find a kernel RIP: trap_common completes the jump itself.
aril_return_jump:
    jmp *%rcx

// As FMASK has it at the other door. IRET would fail with NT, and the kernel sleeps with interrupts on.
repair_flags:
    orl $FLAG_IF, %r11d
    andl $~FLAG_NT, %r11d
    movq %r11, FRAME_RFLAGS(%rsp)
    pushq $KERNEL_FLAGS
    popfq
    jmp flags_are_right

return_unusual_flags:
    COMPLETE_FRAME KERNEL_CS, KERNEL_SS
    jmp return_changed_frame

return_work:
    COMPLETE_FRAME KERNEL_CS, KERNEL_SS
    movq %rsp, %rdi
    subq $8, %rsp
    call aril_on_system_call_return
    addq $8, %rsp

// Whoever had the whole frame may have changed any register of it.
return_whole_frame:
    movq FRAME_RIP(%rsp), %rcx
    cmpq FRAME_RCX(%rsp), %rcx
    jne return_changed_frame
    movq FRAME_RFLAGS(%rsp), %rcx
    cmpq FRAME_R11(%rsp), %rcx
    jne return_changed_frame
    LOAD_KEPT_REGISTERS
    jmp aril_return_begin

return_changed_frame:
    cli
    cmpl $0, CPU_RESCHEDULE_NEEDED
    jne return_changed_work
    movq CPU_RETURN_WORK, %rcx
    cmpl $0, (%rcx)
    jne return_changed_work
return_by_iret:
    POP_REGISTERS
    addq $8, %rsp
    iretq

return_changed_work:
    sti
    movq %rsp, %rdi
    subq $8, %rsp
    call aril_before_return_to_application
    addq $8, %rsp
    jmp return_whole_frame

// From aril_on_system_call, which jumps here instead of to a handler (arch/syscall_entry.hpp).
    .globl aril_call_with_registers
aril_call_with_registers:
    movq %rdi, %rsp                  // the return address is not used
    COMPLETE_FRAME KERNEL_CS, KERNEL_SS
    movq FRAME_NUMBER(%rsp), %rax
    movq %rax, FRAME_RAX(%rsp)
    subq $8, %rsp
    call aril_on_system_call_with_registers
    addq $8, %rsp
    jmp return_whole_frame

// void enter_application(const TrapFrame&), interrupts disabled.
    .globl aril_enter_application
aril_enter_application:
    movq %rdi, %rsp
    jmp return_by_iret

    .section .text.entry, "ax", @progbits

// Every vector but NMI, double fault and machine check arrives on the interrupt stack (IST 1) with
// interrupts disabled, so that the red zone of whoever was interrupted stays whole. The frame is
// built on the thread's kernel stack, and IST 1 is free again.
//
// The application is in ring 0 and can do to the CPU what it likes (docs/failures.md). What it must
// not get away with is a kernel that runs with a wrong GS: each interrupt stack begins below a pointer
// to the CPU's block, which tells.
    .balign 16
trap_common:
    pushq %rax
    pushq %rcx
#define IST_RCX 0
#define IST_RAX 8
#define IST_VECTOR 16
#define IST_ERROR 24
#define IST_RIP 32
#define IST_CS 40
#define IST_RFLAGS 48
#define IST_RSP 56
#define IST_SS 64
#define IST_CPU_BLOCK 72
    cmpb $0, aril_has_gs_instructions(%rip)
    je gs_is_right                   // then only WRMSR changes it
    rdgsbase %rcx
    cmpq IST_CPU_BLOCK(%rsp), %rcx
    jne repair_gs
gs_is_right:
    testl $FLAGS_KEPT_BY_TRAP, IST_RFLAGS(%rsp)
    jnz drop_unusual_flags           // who runs next may come back without POPFQ
flags_are_dropped:
    movq IST_RIP(%rsp), %rax
    testq %rax, %rax
    jns from_top                     // application code: the kernel stack is empty
    subq $aril_return_begin, %rax
    cmpq $(aril_return_jump - aril_return_begin), %rax
    jb restart_return
    je complete_jump
return_is_restarted:
    movq IST_RSP(%rsp), %rcx
    cmpq CPU_KERNEL_STACK_TOP, %rcx
    ja from_top                      // at an entry, before RSP was switched
    movq CPU_KERNEL_STACK_BOTTOM, %rax
    addq $STACK_RESERVE, %rax
    cmpq %rax, %rcx
    jb below_stack
    andq $-16, %rcx
move_frame:                          // to below RCX
    movq IST_SS(%rsp), %rax
    movq %rax, -8(%rcx)
    movq IST_RSP(%rsp), %rax
    movq %rax, -16(%rcx)
    movq IST_RFLAGS(%rsp), %rax
    movq %rax, -24(%rcx)
    movq IST_CS(%rsp), %rax
    movq %rax, -32(%rcx)
    movq IST_RIP(%rsp), %rax
    movq %rax, -40(%rcx)
    movq IST_ERROR(%rsp), %rax
    movq %rax, -48(%rcx)
    movq %rdi, -56(%rcx)
    movq %rsi, -64(%rcx)
    movq %rdx, -72(%rcx)
    movq IST_RCX(%rsp), %rax
    movq %rax, -80(%rcx)
    movq IST_RAX(%rsp), %rax
    movq %rax, -88(%rcx)
    movq %r8, -96(%rcx)
    movq %r9, -104(%rcx)
    movq %r10, -112(%rcx)
    movq %r11, -120(%rcx)
    movq %rbx, -128(%rcx)
    movq %rbp, -136(%rcx)
    movq %r12, -144(%rcx)
    movq %r13, -152(%rcx)
    movq %r14, -160(%rcx)
    movq %r15, -168(%rcx)
    movq IST_VECTOR(%rsp), %rsi
    leaq -FRAME_SIZE(%rcx), %rsp
    movq %rsp, %rdi
    subq $8, %rsp
    call aril_on_trap
    addq $8, %rsp
    jmp return_by_iret

from_top:
    movq CPU_KERNEL_STACK_TOP, %rcx
    jmp move_frame
drop_unusual_flags:
    pushq $2                         // interrupts stay off
    popfq
    jmp flags_are_dropped
repair_gs:
    movq IST_CPU_BLOCK(%rsp), %rcx
    wrgsbase %rcx
    // The first instruction at a door to use GS has failed, and is run again.
    cmpq $32, IST_VECTOR(%rsp)
    jae gs_is_right
    movq IST_RIP(%rsp), %rax
    cmpq $aril_syscall_entry, %rax
    je try_again
    cmpq $patched_entry_uses_gs, %rax
    jne gs_is_right
try_again:
    popq %rcx
    popq %rax
    addq $16, %rsp                   // vector, error code
    iretq

restart_return:
    movq $aril_return_begin, IST_RIP(%rsp)
    jmp return_is_restarted
complete_jump:
    movq IST_RCX(%rsp), %rax
    movq %rax, IST_RIP(%rsp)
    jmp from_top

below_stack:
    testq %rcx, %rcx
    jns from_top                     // the application's stack: at an entry, as above
    // The kernel stack is used up: report from this stack.
    popq %rcx
    popq %rax
// [vector][error code][rip]...: the frame stays where it is.
trap_in_place:
    xchgq %rdi, (%rsp)               // the vector to RDI
    pushq %rsi
    pushq %rdx
    pushq %rcx
    pushq %rax
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    cld
    // The slot that held the vector now holds RDI, which is at its place in the frame.
    movq %rdi, %rsi
    movq %rsp, %rdi
    movq %rsp, %rbx
    // Whatever GS is now: the block's address is where the stack begins.
    movl $MSR_GS_BASE, %ecx
    movq FRAME_SIZE(%rbx), %rax
    movq %rax, %rdx
    shrq $32, %rdx
    wrmsr
    andq $-16, %rsp
    call aril_on_trap_in_place
    movq %rbx, %rsp
    jmp return_by_iret

// An NMI is the watch's question (watch.cpp). Application code never runs with interrupts off unless it
// has switched them off itself, for which Linux has a general protection fault.
#define NMI_RIP 16
#define NMI_RFLAGS 32
trap_nmi:
    cmpq $0, NMI_RIP(%rsp)
    js trap_in_place
    testl $FLAG_IF, NMI_RFLAGS(%rsp)
    jnz trap_in_place
    orl $FLAG_IF, NMI_RFLAGS(%rsp)
    movq $GENERAL_PROTECTION, (%rsp)
    movq $0, 8(%rsp)
    jmp trap_common

// Vectors whose error code the CPU pushes, onto a stack that it has aligned to 16. `int n` pushes none,
// which leaves RSP 8 off: it becomes the general protection fault that it is on Linux, where programs
// may not use these gates [SDM 3A 6.12.1.2].
trap_with_error_code:
    testb $8, %spl
    jnz trap_common
software_interrupt:                  // [vector][rip]...
    pushq (%rsp)
    shlq $3, 8(%rsp)                 // the error code: the gate's index, and that it is in the IDT
    orq $2, 8(%rsp)
    movq $GENERAL_PROTECTION, (%rsp)
    subq $2, 16(%rsp)                // back to the instruction
    jmp trap_common
trap_double_fault:
    testb $8, %spl
    jz software_interrupt
    jmp trap_in_place

// One stub a vector, 16 bytes each: it makes the stack uniform and names the vector.
    .balign 16
    .globl aril_trap_stubs
aril_trap_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if vector == 8
    pushq $vector
    jmp trap_double_fault
    .elseif (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30
    pushq $vector
    jmp trap_with_error_code
    .else
    pushq $-1
    pushq $vector
    .if vector == 2
    jmp trap_nmi
    .elseif vector == 18
    jmp trap_in_place
    .else
    jmp trap_common
    .endif
    .endif
    .set vector, vector + 1
    .endr

    .section .note.GNU-stack, "", @progbits
