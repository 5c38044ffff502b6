// Into and out of a frozen machine (arch/freeze.hpp). As in boot.S, PHYS(symbol) is where a symbol is
// before paging; the tables that the frozen machine ran with are in its memory, and lack only the
// mapping of the first GiB one to one, through which paging is turned on and off.
#include "boot.inc"

#define EFER_LME 0x100
#define CODE64 0x08
#define DATA 0x10
#define CODE32 0x18

    .section .text.thaw, "ax", @progbits
    .code64

// uint64_t aril_freeze(void (*stop)()): the address of the loader's data, on another machine.
    .globl aril_freeze
aril_freeze:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $8, %rsp
    movq %rsp, frozen_rsp(%rip)
    call *%rdi
    ud2

    .code32
    .globl aril_thaw_start
aril_thaw_start:                     // EBX: start info; protected mode, no paging
    cli
    cld
    movl %ebx, %esi
    NOTE_BOOT_CYCLES
    movl $(PHYS(boot_pdpt_direct) + PRESENT_WRITE), PHYS(boot_pml4)
    TURN_PAGING_ON
    lgdt PHYS(low_gdt_pointer)
    ljmp $CODE64, $PHYS(thaw_low)

    .code64
thaw_low:
    movq $thaw_high, %rax
    jmp *%rax
thaw_high:
    lgdt high_gdt_pointer(%rip)
    LOAD_DATA_SEGMENTS
    movq $aril_boot_cpu, %rdx
    movl $MSR_GS_BASE, %ecx
    movl %edx, %eax
    shrq $32, %rdx
    wrmsr
    movq frozen_rsp(%rip), %rsp
    movl %esi, %eax
    addq $8, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret

// void aril_start_cold(uint64_t boot_data, uint64_t data): the kernel's data as they were linked, and
// paging off, as PVH has it.
    .globl aril_start_cold
aril_start_cold:
    cli
    movl %edi, %ebx
    movq $PHYS(cold_low), %rax
    jmp *%rax
cold_low:
    lgdt PHYS(low_gdt_pointer)
    pushq $CODE32
    pushq $PHYS(cold_32)
    lretq
    .code32
cold_32:
    movl $DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %cr0, %eax
    andl $0x7fffffff, %eax
    movl %eax, %cr0
    movl $MSR_EFER, %ecx
    rdmsr
    andl $~EFER_LME, %eax
    wrmsr
    cld
    movl $PHYS(aril_rodata_end), %edi
    movl $PHYS(aril_bss_start), %ecx
    subl %edi, %ecx
    rep movsb                        // from ESI
    movl $PHYS(aril_image_end), %ecx
    subl %edi, %ecx
    xorl %eax, %eax
    rep stosb
    jmp aril_pvh_start

    .section .rodata.thaw, "a", @progbits
    .balign 8
thaw_gdt:
    .quad 0
    .quad 0x00af9b000000ffff         // 0x08: 64-bit code, ring 0
    .quad 0x00cf93000000ffff         // 0x10: data
    .quad 0x00cf9b000000ffff         // 0x18: 32-bit code
thaw_gdt_end:
    .balign 4
    .word 0
low_gdt_pointer:
    .word thaw_gdt_end - thaw_gdt - 1
    .quad PHYS(thaw_gdt)
    .balign 4
    .word 0
high_gdt_pointer:
    .word thaw_gdt_end - thaw_gdt - 1
    .quad thaw_gdt

    .section .bss.thaw, "aw", @nobits
    .balign 8
frozen_rsp:
    .skip 8

    .section .note.GNU-stack, "", @progbits
