// The memory functions that compilers call. Loops of 8-byte moves: they are fast on every CPU and
// under emulation; long runs use the string instructions where the CPU says that those are faster
// (aril_fast_string_moves, set at start-up).
    .section .text.memory, "ax", @progbits

// void* memmove(void* to, const void* from, size_t size); memcpy is the same function.
    .balign 16
    .globl memcpy, memmove
memcpy:
memmove:
    movq %rdi, %rax
    movq %rdi, %rcx
    subq %rsi, %rcx
    cmpq %rdx, %rcx                  // unsigned to - from < size: overlaps from above
    jb backward
    cmpq $32, %rdx
    jb small
    cmpq $512, %rdx
    jb 1f
    cmpb $0, aril_fast_string_moves(%rip)
    jne string_move
1:  movq (%rsi), %rcx
    movq 8(%rsi), %r8
    movq 16(%rsi), %r9
    movq 24(%rsi), %r10
    movq %rcx, (%rdi)
    movq %r8, 8(%rdi)
    movq %r9, 16(%rdi)
    movq %r10, 24(%rdi)
    addq $32, %rsi
    addq $32, %rdi
    subq $32, %rdx
    cmpq $32, %rdx
    jae 1b
small:                               // fewer than 32 bytes
    cmpq $16, %rdx
    jae 4f
    cmpq $8, %rdx
    jae 3f
    cmpq $4, %rdx
    jae 2f
    testq %rdx, %rdx
    jz 5f
    movzbl (%rsi), %ecx              // 1..3 bytes: first, last, middle
    movzbl -1(%rsi,%rdx), %r8d
    movq %rdx, %r9
    shrq $1, %r9
    movzbl (%rsi,%r9), %r10d
    movb %cl, (%rdi)
    movb %r10b, (%rdi,%r9)
    movb %r8b, -1(%rdi,%rdx)
    ret
2:  movl (%rsi), %ecx                // two pieces that may overlap, both loaded first
    movl -4(%rsi,%rdx), %r8d
    movl %ecx, (%rdi)
    movl %r8d, -4(%rdi,%rdx)
    ret
3:  movq (%rsi), %rcx
    movq -8(%rsi,%rdx), %r8
    movq %rcx, (%rdi)
    movq %r8, -8(%rdi,%rdx)
    ret
4:  movq (%rsi), %rcx
    movq 8(%rsi), %r8
    movq -16(%rsi,%rdx), %r9
    movq -8(%rsi,%rdx), %r10
    movq %rcx, (%rdi)
    movq %r8, 8(%rdi)
    movq %r9, -16(%rdi,%rdx)
    movq %r10, -8(%rdi,%rdx)
5:  ret
string_move:
    movq %rdx, %rcx
    rep movsb
    ret
backward:
    cmpq $8, %rdx
    jb 7f
6:  movq -8(%rsi,%rdx), %rcx
    movq %rcx, -8(%rdi,%rdx)
    subq $8, %rdx
    cmpq $8, %rdx
    jae 6b
7:  testq %rdx, %rdx
    jz 5b
8:  movzbl -1(%rsi,%rdx), %ecx
    movb %cl, -1(%rdi,%rdx)
    decq %rdx
    jnz 8b
    ret

// void* memset(void* to, int value, size_t size)
    .balign 16
    .globl memset
memset:
    movq %rdi, %r9
    movzbl %sil, %eax
    movabsq $0x0101010101010101, %rcx
    imulq %rcx, %rax
    cmpq $32, %rdx
    jb 2f
    cmpq $512, %rdx
    jb 1f
    cmpb $0, aril_fast_string_moves(%rip)
    jne 5f
1:  movq %rax, (%rdi)
    movq %rax, 8(%rdi)
    movq %rax, 16(%rdi)
    movq %rax, 24(%rdi)
    addq $32, %rdi
    subq $32, %rdx
    cmpq $32, %rdx
    jae 1b
2:  cmpq $8, %rdx
    jb 3f
    movq %rax, (%rdi)
    addq $8, %rdi
    subq $8, %rdx
    jmp 2b
3:  testq %rdx, %rdx
    jz 4f
    movb %al, (%rdi)
    incq %rdi
    decq %rdx
    jmp 3b
4:  movq %r9, %rax
    ret
5:  movq %rdx, %rcx
    rep stosb
    jmp 4b

// int memcmp(const void* a, const void* b, size_t size)
    .balign 16
    .globl memcmp, bcmp
memcmp:
bcmp:
    cmpq $8, %rdx
    jb 2f
1:  movq (%rdi), %rax
    movq (%rsi), %rcx
    cmpq %rcx, %rax
    jne 4f
    addq $8, %rdi
    addq $8, %rsi
    subq $8, %rdx
    cmpq $8, %rdx
    jae 1b
2:  testq %rdx, %rdx
    jz 5f
3:  movzbl (%rdi), %eax
    movzbl (%rsi), %ecx
    subl %ecx, %eax
    jnz 6f
    incq %rdi
    incq %rsi
    decq %rdx
    jnz 3b
5:  xorl %eax, %eax
6:  ret
4:  bswapq %rax                      // memory order is the most significant byte first
    bswapq %rcx
    cmpq %rcx, %rax
    sbbl %eax, %eax
    orl $1, %eax
    ret

    .section .note.GNU-stack, "", @progbits
