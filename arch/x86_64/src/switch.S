// Changes between kernel stacks (arch/context.hpp).
    .section .text.entry, "ax", @progbits

// void aril_switch_context(Context* from, Context* to)
    .balign 16
    .globl aril_switch_context
aril_switch_context:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq (%rsi), %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret

// Where a new context's first switch returns to: calls r12(r13).
    .globl aril_context_start
aril_context_start:
    movq %r13, %rdi
    call *%r12
    ud2

    .section .note.GNU-stack, "", @progbits
