// Ways into and out of the kernel where both it and the application are one Linux process. The frame
// layout is arch/trap_frame.hpp, the register contract arch/syscall_entry.hpp, CpuBlock's offsets
// arch/cpu_block.hpp.
#include "registers.inc"

#define APPLICATION_CS 0x33
#define APPLICATION_SS 0x2b
#define FLAG_IF   0x200
// TF, DF, IOPL, NT, RF, AC, ID: what is neither arithmetic's nor the host's.
#define UNUSUAL_FLAGS 0x257500
// TF, NT, AC, ID: the kernel runs without, and what it returns to by SAHF has none.
#define FLAGS_TO_CLEAR 0x244100
#define KERNEL_FLAGS  0x202

    .section .text.system_call, "ax", @progbits

// While the application runs, CPU_INTERRUPTS_ENABLED is 0: a signal is taken because the instruction
// pointer is the application's, and in the kernel's first and last instructions only noted.
    .balign 16
    .globl aril_patched_entry
aril_patched_entry:
    movq %rsp, %r11                  // the flags are still the application's: no arithmetic
    movq CPU_KERNEL_STACK_TOP, %rsp
    leaq -8(%rsp), %rsp
    pushq %r11
    pushfq
    leaq -FRAME_RFLAGS(%rsp), %rsp
    movq FRAME_RFLAGS(%rsp), %r11
    movq %rax, FRAME_NUMBER(%rsp)
    cld
    testl $FLAGS_TO_CLEAR, %r11d
    jnz clear_flags
flags_are_clear:
    STORE_CALL_REGISTERS
    movl $1, CPU_INTERRUPTS_ENABLED
    cmpl $0, CPU_INTERRUPTS_PENDING
    jne pending_at_entry
system_call:
    // As in arch/x86_64: RBX, RBP and R12 to R15 stay the application's.
    movq %rsp, %rdi
    subq $8, %rsp                    // FRAME_SIZE is 8 mod 16, the ABI wants 0 before a call
    call aril_on_system_call
system_call_done:
    addq $8, %rsp
    movq %rax, FRAME_RAX(%rsp)
    cmpq $RESULT_RESTART, %rax
    je return_work

// A signal that finds the instruction pointer in [aril_return_begin, aril_return_end) is noted, and
// everything starts again from here: what the frame at the top of the kernel stack has, and the
// registers that it does not have, stay as they are until the jump (signals.cpp).
    .globl aril_return_begin, aril_return_end
aril_return_begin:
    movl $0, CPU_INTERRUPTS_ENABLED
    cmpl $0, CPU_INTERRUPTS_PENDING
    jne return_work
    cmpl $0, CPU_RESCHEDULE_NEEDED
    jne return_work
    movq CPU_RETURN_WORK, %rcx
    cmpl $0, (%rcx)
    jne return_work
    movq FRAME_RFLAGS(%rsp), %r11
    movq FRAME_RIP(%rsp), %rcx
    testl $UNUSUAL_FLAGS, %r11d
    jnz return_unusual_flags
    // The other flags are clear here too.
    LOAD_ARITHMETIC_FLAGS
    LOAD_CALL_REGISTERS
    movq FRAME_RSP(%rsp), %rsp
    jmp *%rcx
return_unusual_flags:
    COMPLETE_FRAME APPLICATION_CS, APPLICATION_SS
    jmp return_by_iret
aril_return_end:

return_work:
    COMPLETE_FRAME APPLICATION_CS, APPLICATION_SS
    movq %rsp, %rdi
    subq $8, %rsp
    call aril_system_call_return_work
    addq $8, %rsp

// The same for a whole frame, any register of which may have been changed.
    .globl aril_whole_return_begin, aril_whole_return_end
aril_whole_return_begin:
    movl $0, CPU_INTERRUPTS_ENABLED
    cmpl $0, CPU_INTERRUPTS_PENDING
    jne whole_return_work
    cmpl $0, CPU_RESCHEDULE_NEEDED
    jne whole_return_work
    movq CPU_RETURN_WORK, %rcx
    cmpl $0, (%rcx)
    jne whole_return_work
    movq FRAME_RIP(%rsp), %rcx
    cmpq FRAME_RCX(%rsp), %rcx
    jne return_by_iret
    movq FRAME_RFLAGS(%rsp), %rcx
    cmpq FRAME_R11(%rsp), %rcx
    jne return_by_iret
    LOAD_KEPT_REGISTERS
    jmp aril_return_begin
return_by_iret:
    LOAD_KEPT_REGISTERS
    LOAD_CALL_REGISTERS
    movq FRAME_R11(%rsp), %r11
    movq FRAME_RCX(%rsp), %rcx
    leaq FRAME_RIP(%rsp), %rsp
    iretq
aril_whole_return_end:

whole_return_work:
    movq %rsp, %rdi
    subq $8, %rsp
    call aril_return_work
    addq $8, %rsp
    jmp aril_whole_return_begin

clear_flags:
    pushq $KERNEL_FLAGS
    popfq
    jmp flags_are_clear

pending_at_entry:
    subq $8, %rsp
    call aril_take_pending_interrupts
    addq $8, %rsp
    jmp system_call

// From aril_on_system_call, which jumps here instead of to a handler (arch/syscall_entry.hpp).
    .globl aril_call_with_registers
aril_call_with_registers:
    movq %rdi, %rsp                  // the return address is not used
    COMPLETE_FRAME APPLICATION_CS, APPLICATION_SS
    movq FRAME_NUMBER(%rsp), %rax
    movq %rax, FRAME_RAX(%rsp)
    subq $8, %rsp
    call aril_on_system_call_with_registers
    addq $8, %rsp
    jmp aril_whole_return_begin

    .section .text.entry, "ax", @progbits

// A host's signal cannot change this flag by what it returns to: it is still the application's.
.macro DROP_ID_FLAG
    pushq $KERNEL_FLAGS
    popfq
.endm

// A `syscall` instruction of the application: the signal handler has built the frame and continues
// here, on it.
    .globl aril_trapped_system_call
aril_trapped_system_call:
    DROP_ID_FLAG
    movl $1, CPU_INTERRUPTS_ENABLED
    movq %rsp, %rdi
    subq $8, %rsp
    call aril_on_trapped_system_call
    jmp system_call_done

// Likewise for exceptions and interrupts: RSI the kind, RDX the address; interrupts disabled.
    .globl aril_trap
aril_trap:
    DROP_ID_FLAG
    movq %rsp, %rdi
    subq $8, %rsp
    call aril_on_trap                // whether the frame is the application's
    addq $8, %rsp
    testb %al, %al
    jne aril_whole_return_begin
// To kernel code. Interrupts may be enabled before the registers are back: a frame on top of this
// one does no harm.
    testl $FLAG_IF, FRAME_RFLAGS(%rsp)
    je 1f
    movl $1, CPU_INTERRUPTS_ENABLED
    cmpl $0, CPU_INTERRUPTS_PENDING
    je 1f
    subq $8, %rsp
    call aril_take_pending_interrupts
    addq $8, %rsp
1:  POP_REGISTERS
    addq $8, %rsp
    iretq

// void enter_application(const TrapFrame&), interrupts disabled. The frame is moved to where frames
// of the application are; it may overlap that place from below.
    .globl aril_enter_application
aril_enter_application:
    movq CPU_KERNEL_STACK_TOP, %rsp
    movl $(FRAME_SIZE / 8), %ecx
1:  pushq -8(%rdi,%rcx,8)
    decl %ecx
    jnz 1b
    jmp aril_whole_return_begin

// Where the tender starts the threads: RDI the boot structure, or the CPU's number.
    .globl aril_process_entry
aril_process_entry:
    xorl %ebp, %ebp
    call aril_kernel_main
    ud2

    .globl aril_process_secondary_entry
aril_process_secondary_entry:
    xorl %ebp, %ebp
    call aril_run_secondary
    ud2

    .section .note.GNU-stack, "", @progbits
