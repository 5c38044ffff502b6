// Where a secondary CPU starts [SDM 3A 9.4.4]: in real mode at the page that the start-up IPI names.
// start_cpu copies these bytes to a page below 1 MiB and fills in the values at their end. It goes
// straight from real mode to 64-bit mode: PE and PG are set together.
#include "boot.inc"

    .section .rodata.trampoline, "a", @progbits
    .globl aril_trampoline_start, aril_trampoline_end, aril_trampoline_values
    .code16
aril_trampoline_start:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    movl %cr4, %eax
    orl $CR4_BITS, %eax
    movl %eax, %cr4
    movl (value_cr3 - aril_trampoline_start), %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_BITS, %eax
    wrmsr
    lgdtl (value_gdt_pointer - aril_trampoline_start)
    movl %cr0, %eax
    andl $0x9fffffff, %eax           // CD and NW off: INIT set them
    orl $CR0_BITS, %eax
    movl %eax, %cr0
    ljmpl *(value_far_pointer - aril_trampoline_start)

    .code64
    .globl aril_trampoline_64
aril_trampoline_64:
    LOAD_DATA_SEGMENTS
    movq value_cpu_block(%rip), %rax
    movq %rax, %rdi
    movq %rax, %rdx
    shrq $32, %rdx
    movl $MSR_GS_BASE, %ecx
    wrmsr
    movq value_stack(%rip), %rsp
    xorl %ebp, %ebp
    call *value_entry(%rip)
    ud2

    .balign 8
    // The layout of struct TrampolineValues in secondary_cpu.cpp.
aril_trampoline_values:
value_gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
value_cpu_block:    .quad 0
value_stack:        .quad 0
value_entry:        .quad 0
value_cr3:          .long 0
value_far_pointer:  .long 0
                    .word 0x08
value_gdt_pointer:  .word 23
                    .long 0
aril_trampoline_end:

    .section .note.GNU-stack, "", @progbits
