/* The entry of a compressed image, through PVH: 32-bit protected mode, flat segments, EBX = start
   info, which the kernel gets in turn. `aril build` (tools/aril/image/packed_image.cpp) loads this
   anywhere after the unpacked image, with the compressed bytes behind it, and fills in the words. */
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
  .long 0 /* bytes, unpacked */
1:
  /* No stack yet: the word at the start info's beginning is its magic, which is put back. */
  movl (%ebx), %edx
  leal 4(%ebx), %esp
  call 2f
2:
  popl %ebp
  movl %edx, (%ebx)
  subl $(2b - start), %ebp
  movl (words - start + 20)(%ebp), %eax
  addl %ebp, %eax
  leal 0x5000(%eax), %esp
  pushl %ebx
  pushl (words - start + 24)(%ebp)
  pushl %eax
  pushl (words - start + 8)(%ebp)
  movl (words - start + 16)(%ebp), %ecx
  addl %ebp, %ecx
  pushl %ecx
  cld
  call unpack
  addl $16, %esp
  popl %ebx
  jmp *(words - start + 12)(%ebp)
