// The first instructions: from what a hypervisor hands over to 64-bit C++ on the boot stack, for
// PVH [xen/docs/misc/pvh.pandoc] and for Linux's 64-bit boot protocol [linux boot.rst].
//
// The kernel is linked at KERNEL_BASE + its physical address, so PHYS(symbol) is where a symbol is
// before paging. Both entries make the same first page tables, of 2 MiB pages:
//   PML4[0]    the first GiB, one to one: this code, until it jumps up; dropped later
//   PML4[256]  the same GiB as the start of the direct map, not executable
//   PML4[384]  kernel stacks and device registers (empty, but the entry is final)
//   PML4[511]  the same GiB again as the kernel image, until map_physical_memory refines it
#include "boot.inc"

#define LARGE_GLOBAL 0x180
#define CPU_BLOCK_CANARY 0x28

    // XEN_ELFNOTE_PHYS32_ENTRY [xen/include/public/elfnote.h]: where PVH starts.
    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 4, 18
    .asciz "Xen"
    .long PHYS(aril_pvh_start)

// Fills the boot tables; \base is %ebx or %rbx, whose upper half is zero.
.macro BUILD_TABLES base
    movl $PHYS(boot_pml4), %ebx
    movl $(PHYS(boot_pdpt_direct) + PRESENT_WRITE), (\base)
    movl $(PHYS(boot_pdpt_direct) + PRESENT_WRITE), 256*8(\base)
    movl $0x80000000, 256*8+4(\base)           // not executable, at every level below
    movl $(PHYS(boot_pdpt_kernel_map) + PRESENT_WRITE), 384*8(\base)
    movl $(PHYS(boot_pdpt_image) + PRESENT_WRITE), 511*8(\base)
    movl $PHYS(boot_pdpt_direct), %ebx
    movl $(PHYS(boot_pd) + PRESENT_WRITE), (\base)
    movl $PHYS(boot_pdpt_image), %ebx
    movl $(PHYS(boot_pd) + PRESENT_WRITE), 510*8(\base)
    movl $PHYS(boot_pd), %ebx
    movl $(PRESENT_WRITE + LARGE_GLOBAL), %eax
1:  movl %eax, (\base)
    addl $8, %ebx
    addl $0x200000, %eax
    cmpl $(PHYS(boot_pd) + 4096), %ebx
    jne 1b
.endm

    .section .boot.text, "ax", @progbits
    .code32
    .globl aril_pvh_start
aril_pvh_start:                      // EBX: start info; protected mode, no paging
    cli
    cld
    movl %ebx, %esi
    NOTE_BOOT_CYCLES
    BUILD_TABLES %ebx
    TURN_PAGING_ON
    lgdt PHYS(boot_gdt_pointer)
    xorl %edi, %edi                  // BootProtocol::kPvh
    ljmp $0x08, $PHYS(start64_low)

    .code64
    .globl aril_linux_start
aril_linux_start:                    // RSI: boot_params; long mode, an identity map of its own
    cli
    cld
    rdtsc
    shlq $32, %rdx
    orq %rdx, %rax
    movq %rax, aril_boot_cycles(%rip)
    BUILD_TABLES %rbx
    movq %cr4, %rax
    orq $CR4_BITS, %rax
    movq %rax, %cr4
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_BITS, %eax
    wrmsr
    movl $PHYS(boot_pml4), %eax
    movq %rax, %cr3
    movq %cr0, %rax
    orl $CR0_BITS, %eax
    movq %rax, %cr0
    movl $PHYS(aril_boot_stack_top), %esp
    lgdt boot_gdt_pointer(%rip)
    movl $1, %edi                    // BootProtocol::kLinux64
    pushq $0x08
    pushq $PHYS(start64_low)
    lretq

start64_low:
    movq $start64_high, %rax
    jmp *%rax
start64_high:
    lgdt boot_gdt_pointer_high(%rip)
    LOAD_DATA_SEGMENTS
    movq $aril_boot_stack_top, %rsp
    xorl %ebp, %ebp
    movl %esi, %r12d                 // both loaders place it below 4 GiB
    movl %edi, %r13d

    // The CPU block before any C++: functions take the stack canary from it. Its first value is only
    // unpredictable to who does not see the cycle counter; secondary CPUs copy it.
    movq $aril_boot_cpu, %rbx
    movq aril_boot_cycles(%rip), %rax
    movabsq $0x9e3779b97f4a7c15, %rcx
    imulq %rcx, %rax
    rorq $29, %rax
    imulq %rcx, %rax
    xorb %al, %al                    // a NUL in it stops string functions
    movq %rax, CPU_BLOCK_CANARY(%rbx)
    movl $MSR_GS_BASE, %ecx
    movl %ebx, %eax
    movq %rbx, %rdx
    shrq $32, %rdx
    wrmsr

    movl %r13d, %edi
    movl %r12d, %esi
    call aril_kernel_main
    ud2

    .section .rodata.boot, "a", @progbits
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff         // 0x08: 64-bit code, ring 0
    .quad 0x00cf93000000ffff         // 0x10: data
boot_gdt_end:
    .balign 4
    .word 0
boot_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .quad PHYS(boot_gdt)
    .balign 4
    .word 0
boot_gdt_pointer_high:
    .word boot_gdt_end - boot_gdt - 1
    .quad boot_gdt

    .section .data.boot_cycles, "aw", @progbits
    .balign 8
    .globl aril_boot_cycles
aril_boot_cycles:
    .quad 0

    .section .bss.boot_tables, "aw", @nobits
    .balign 4096
    .globl boot_pml4, boot_pdpt_direct, boot_pdpt_image, boot_pd
boot_pml4:              .skip 4096
boot_pdpt_direct:       .skip 4096
boot_pdpt_kernel_map:   .skip 4096
boot_pdpt_image:        .skip 4096
boot_pd:                .skip 4096

    // Below the stack lies a page that map_physical_memory leaves unmapped.
    .section .bss.boot_stack, "aw", @nobits
    .balign 4096
    .globl aril_boot_stack_guard, aril_boot_stack_bottom, aril_boot_stack_top
aril_boot_stack_guard:  .skip 4096
aril_boot_stack_bottom: .skip 32768
aril_boot_stack_top:

    .section .note.GNU-stack, "", @progbits
