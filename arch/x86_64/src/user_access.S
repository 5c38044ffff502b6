// Accesses that may fault (arch/user_access.hpp). An entry of "aril_fixups" names an instruction and
// where to go on when its fault cannot be resolved.
.macro FIXUP at, to
    .pushsection aril_fixups, "a", @progbits
    .quad \at, \to
    .popsection
.endm

    .section .text.user_access, "ax", @progbits

// 64 bytes a round: all loads come before all stores, so that after a fault in a round its bytes
// can be copied again one at a time up to the exact place. Long copies use `rep movsb` where the
// CPU is fast at it (aril_fast_string_moves).
    .balign 16
    .globl aril_raw_copy
aril_raw_copy:
    cmpq $64, %rdx
    jb 3f
    cmpq $512, %rdx
    jb 2f
    cmpb $0, aril_fast_string_moves(%rip)
    jne 6f
2:
10: movq (%rsi), %rax
11: movq 8(%rsi), %rcx
12: movq 16(%rsi), %r8
13: movq 24(%rsi), %r9
14: movq 32(%rsi), %r10
15: movq 40(%rsi), %r11
20: movq %rax, (%rdi)
21: movq %rcx, 8(%rdi)
22: movq %r8, 16(%rdi)
23: movq %r9, 24(%rdi)
16: movq 48(%rsi), %rax
17: movq 56(%rsi), %rcx
24: movq %r10, 32(%rdi)
25: movq %r11, 40(%rdi)
26: movq %rax, 48(%rdi)
27: movq %rcx, 56(%rdi)
    addq $64, %rsi
    addq $64, %rdi
    subq $64, %rdx
    cmpq $64, %rdx
    jae 2b
3:  cmpq $8, %rdx
    jb 5f
4:
30: movq (%rsi), %rax
31: movq %rax, (%rdi)
    addq $8, %rsi
    addq $8, %rdi
    subq $8, %rdx
    cmpq $8, %rdx
    jae 4b
5:  testq %rdx, %rdx
    jz 9f
40: movb (%rsi), %al
41: movb %al, (%rdi)
    incq %rsi
    incq %rdi
    decq %rdx
    jnz 40b
9:  movq %rdx, %rax
    ret
6:  movq %rdx, %rcx
50: rep movsb
    movq %rcx, %rdx
    jmp 9b
    FIXUP 10b, 5b
    FIXUP 11b, 5b
    FIXUP 12b, 5b
    FIXUP 13b, 5b
    FIXUP 14b, 5b
    FIXUP 15b, 5b
    FIXUP 16b, 5b
    FIXUP 17b, 5b
    FIXUP 20b, 5b
    FIXUP 21b, 5b
    FIXUP 22b, 5b
    FIXUP 23b, 5b
    FIXUP 24b, 5b
    FIXUP 25b, 5b
    FIXUP 26b, 5b
    FIXUP 27b, 5b
    FIXUP 30b, 5b
    FIXUP 31b, 5b
    FIXUP 40b, 9b
    FIXUP 41b, 9b
    FIXUP 50b, 7f
7:  movq %rcx, %rdx
    jmp 9b

    .balign 16
    .globl aril_raw_zero
aril_raw_zero:
    xorl %eax, %eax
    cmpq $8, %rsi
    jb 2f
1:  movq %rax, (%rdi)
    addq $8, %rdi
    subq $8, %rsi
    cmpq $8, %rsi
    jae 1b
2:  testq %rsi, %rsi
    jz 4f
3:  movb %al, (%rdi)
    incq %rdi
    decq %rsi
    jnz 3b
4:  movq %rsi, %rax
    ret
    FIXUP 1b, 2b
    FIXUP 3b, 4b

    .balign 16
    .globl aril_raw_copy_string
aril_raw_copy_string:
    xorl %eax, %eax
1:  cmpq %rdx, %rax
    je 3f
2:  movb (%rsi,%rax), %cl
    movb %cl, (%rdi,%rax)
    testb %cl, %cl
    jz 3f
    incq %rax
    jmp 1b
3:  ret
4:  movq $-1, %rax
    ret
    FIXUP 2b, 4b

    .balign 16
    .globl aril_raw_load_u32
aril_raw_load_u32:
1:  movl (%rdi), %eax
    movl %eax, (%rsi)
    movl $1, %eax
    ret
2:  xorl %eax, %eax
    ret
    FIXUP 1b, 2b

    .balign 16
    .globl aril_raw_compare_exchange_u32
aril_raw_compare_exchange_u32:
    movl (%rsi), %eax
1:  lock cmpxchgl %edx, (%rdi)
    movl %eax, (%rsi)
    movl $1, %eax
    ret
2:  xorl %eax, %eax
    ret
    FIXUP 1b, 2b

    .section .note.GNU-stack, "", @progbits
