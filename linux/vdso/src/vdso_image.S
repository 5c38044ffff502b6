    .section .rodata.vdso_image, "a", @progbits
    .balign 16
    .globl aril_vdso_image_start
aril_vdso_image_start:
    .incbin ARIL_VDSO_FILE
    .globl aril_vdso_image_end
aril_vdso_image_end:
    .section .note.GNU-stack, "", @progbits
