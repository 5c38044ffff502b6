// The only place from which this process makes host calls: the filter knows its addresses.
#include "registers.inc"

#define SYS_rt_sigreturn 15
#define ERROR_INTERRUPTED -4

    .section .text.gate, "ax", @progbits
    .balign 64
    .globl aril_gate_start
aril_gate_start:

// int64_t aril_host_call(number, a0, a1, a2, a3, a4, a5)
    .globl aril_host_call
aril_host_call:
    movq %rdi, %rax
    movq %rsi, %rdi
    movq %rdx, %rsi
    movq %rcx, %rdx
    movq %r8, %r10
    movq %r9, %r8
    movq 8(%rsp), %r9
    syscall
    ret

// The same, but not begun when an interrupt is pending. A signal that finds the instruction pointer
// in [aril_wait_begin, aril_wait_call] is noted and continues at aril_wait_skipped (signals.cpp), so
// that none is slept over.
    .globl aril_host_wait, aril_wait_begin, aril_wait_call, aril_wait_skipped
aril_host_wait:
    movq %rdi, %rax
    movq %rsi, %rdi
    movq %rdx, %rsi
    movq %rcx, %rdx
    movq %r8, %r10
    movq %r9, %r8
    movq 8(%rsp), %r9
aril_wait_begin:
    cmpl $0, CPU_INTERRUPTS_PENDING
    jne aril_wait_skipped
aril_wait_call:
    syscall
    ret
aril_wait_skipped:
    movq $ERROR_INTERRUPTED, %rax
    ret

// Where signal handlers return to.
    .globl aril_signal_return
aril_signal_return:
    movl $SYS_rt_sigreturn, %eax
    syscall
    .globl aril_gate_end
aril_gate_end:

    .section .note.GNU-stack, "", @progbits
