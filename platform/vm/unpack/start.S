/* The entry of a compressed image, through PVH: 32-bit protected mode, flat segments, EBX = start
   info, which the kernel gets in turn. `aril build` (tools/aril/image/packed_image.cpp) loads this
   anywhere after the unpacked image, with the compressed bytes behind it, and fills in the words.
   Linked at 0. */
  .code32
  .section .text.start, "ax"
  .globl start
start:
  jmp 1f
  .balign 4
words:
  .ascii "ARILPACK"
  .long 0 /* where to unpack to */
  .long 0 /* the kernel's PVH entry */
  .long 0 /* from `start` to the compressed bytes */
  .long 0 /* from `start` to free memory for the model and the stack */
  .long 0 /* where to decompress to */
  .long 0 /* bytes, decompressed */
1:
  /* No stack yet: the word at the start info's beginning is its magic, which is put back. */
  movl (%ebx), %edx
  leal 4(%ebx), %esp
  call 2f
2:
  popl %ebp
  movl %edx, (%ebx)
  subl $(2b - start), %ebp
  movl (words - start + 20)(%ebp), %edx
  addl %ebp, %edx
  leal 0x5000(%edx), %esp
  pushl %ebx
  leal kinds(%ebp), %eax
  pushl %eax
  pushl (words - start + 8)(%ebp)
  pushl %edx
  movl (words - start + 16)(%ebp), %eax
  addl %ebp, %eax
  movl (words - start + 24)(%ebp), %edx
  movl (words - start + 28)(%ebp), %ecx
  cld
  call unpack /* its first three arguments are in registers */
  addl $12, %esp
  popl %ebx
  jmp *(words - start + 12)(%ebp)
