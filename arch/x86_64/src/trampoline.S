// Where a secondary CPU starts [SDM 3A 9.4.4]: in real mode at the page that the start-up IPI names.
// start_cpu copies these bytes to a page below 1 MiB and fills in the values at their end. It goes
// straight from real mode to 64-bit mode: PE and PG are set together.
    .section .rodata.trampoline, "a", @progbits
    .globl aril_trampoline_start, aril_trampoline_end, aril_trampoline_values
    .code16
aril_trampoline_start:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    movl %cr4, %eax
    orl $0xa0, %eax                  // PAE, PGE
    movl %eax, %cr4
    movl (value_cr3 - aril_trampoline_start), %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx           // EFER
    rdmsr
    orl $0x901, %eax                 // NXE, LME, SCE
    wrmsr
    lgdtl (value_gdt_pointer - aril_trampoline_start)
    movl %cr0, %eax
    andl $0x9fffffff, %eax           // CD and NW off: INIT set them
    orl $0x80010001, %eax            // PG, WP, PE
    movl %eax, %cr0
    ljmpl *(value_far_pointer - aril_trampoline_start)

    .code64
    .globl aril_trampoline_64
aril_trampoline_64:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movq value_cpu_block(%rip), %rax
    movq %rax, %rdi
    movq %rax, %rdx
    shrq $32, %rdx
    movl $0xc0000101, %ecx           // GS base
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
