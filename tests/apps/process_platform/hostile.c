// What a program that has been taken over may try against `--platform process`. The first argument
// says what; the layout is base/process_abi.hpp's, which the attacker knows too.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define APPLICATION_START 0x10000ul
#define APPLICATION_END 0x700000000000ul
#define MEMORY_BASE 0x710000000000ul
#define KERNEL_BASE 0x730000000000ul
#define KERNEL_END 0x738000000000ul
#define PAGE 4096ul

// The kernel's own way to the host (arch/process/src/gate.S); its address is an argument.
typedef long (*Gate)(long number, long a0, long a1, long a2, long a3, long a4, long a5);

static unsigned long number_at(char** words, int count, int at) {
  return at < count ? strtoul(words[at], NULL, 0) : 0;
}

// Every call from application code, with arguments that none of them likes. What ends the program
// or waits for ever is left out.
static void every_call(void) {
  static const int kLeftOut[] = {SYS_rt_sigreturn, SYS_pause, SYS_exit,
                                 SYS_exit_group,   SYS_vfork, SYS_fork};
  int served = 0, unknown = 0;
  for (long number = 0; number < 480; ++number) {
    int skip = 0;
    for (size_t i = 0; i < sizeof kLeftOut / sizeof *kLeftOut; ++i) skip |= kLeftOut[i] == number;
    if (skip) continue;
    long result;
    register long r10 __asm__("r10") = -1;
    register long r8 __asm__("r8") = -1;
    register long r9 __asm__("r9") = -1;
    // An instruction of its own for each call: `volatile` keeps the loop from being unrolled, and a
    // site that was rewritten for one number serves the others too.
    __asm__ volatile("syscall"
                     : "=a"(result), "+r"(r10), "+r"(r8), "+r"(r9)
                     : "a"(number), "D"(-1l), "S"(-1l), "d"(-1l)
                     : "rcx", "r11", "memory");
    if (result == -38) {
      ++unknown;
    } else {
      ++served;
    }
  }
  printf("served %d, unknown %d\n", served, unknown);
}

// The same from code that was written at run time, so that each `syscall` is at a new address and
// arrives at the filter.
static void shellcode(void) {
  static const unsigned char kCode[] = {0xb8, 0,    0,    0,
                                        0,    0x0f, 0x05, 0xc3};  // mov $n, %eax; syscall; ret
  unsigned char* code =
      mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) _exit(3);
  int served = 0;
  for (int number = 0; number < 480; ++number) {
    if (number == SYS_rt_sigreturn || number == SYS_pause || number == SYS_exit ||
        number == SYS_exit_group || number == SYS_vfork || number == SYS_fork)
      continue;
    unsigned char* at = code + number * 64;
    memcpy(at, kCode, sizeof kCode);
    memcpy(at + 1, &number, sizeof number);
    long result;
    register long r10 __asm__("r10") = -1;
    register long r8 __asm__("r8") = -1;
    register long r9 __asm__("r9") = -1;
    __asm__ volatile("call *%[at]"
                     : "=a"(result), "+r"(r10), "+r"(r8), "+r"(r9)
                     : [at] "r"(at), "D"(-1l), "S"(-1l), "d"(-1l)
                     : "rcx", "r11", "memory");
    served += result != -38;
  }
  printf("served %d\n", served);
}

// Jumps to a `syscall` instruction anywhere, with a call's number.
static void jump(uint64_t address, long number) {
  register long r10 __asm__("r10") = 0;
  register long r8 __asm__("r8") = 0;
  __asm__ volatile("jmp *%[at]"
                   :
                   : [at] "r"(address), "a"(number), "D"(0l), "S"(0l), "d"(0l), "r"(r10), "r"(r8)
                   : "memory");
}

int main(int count, char** words) {
  const char* what = count > 1 ? words[1] : "";
  const Gate gate = (Gate)number_at(words, count, 2);
  setvbuf(stdout, NULL, _IONBF, 0);
  if (!strcmp(what, "every-call")) {
    every_call();
  } else if (!strcmp(what, "shellcode")) {
    shellcode();
  } else if (!strcmp(what, "gate")) {
    // Arguments that no rule has.
    gate((long)number_at(words, count, 3), -1, -1, -1, -1, -1, -1);
    puts("came back");
  } else if (!strcmp(what, "jump")) {
    jump(number_at(words, count, 2), (long)number_at(words, count, 3));
  } else if (!strcmp(what, "tender")) {
    // Where it lay: behind the kernel.
    ((void (*)(void))number_at(words, count, 2))();
  } else if (!strcmp(what, "unmap-itself")) {
    munmap((void*)APPLICATION_START, APPLICATION_END - APPLICATION_START);
  } else if (!strcmp(what, "unmap-by-gate")) {
    // Allowed: only what the host shows goes, and is shown again.
    long result =
        gate(SYS_munmap, APPLICATION_START, APPLICATION_END - APPLICATION_START, 0, 0, 0, 0);
    printf("still here: %ld\n", result);
  } else if (!strcmp(what, "map-over-kernel")) {
    void* at = mmap((void*)KERNEL_BASE, PAGE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    puts(at == MAP_FAILED ? "refused" : "mapped");
  } else if (!strcmp(what, "map-over-kernel-by-gate")) {
    // As the kernel itself maps, but for the address; descriptors are small numbers.
    for (long descriptor = 0; descriptor < 16; ++descriptor)
      gate(SYS_mmap, KERNEL_BASE, PAGE, PROT_READ | PROT_WRITE,
           MAP_SHARED | MAP_FIXED | MAP_POPULATE, descriptor, 0);
    puts("came back");
  } else if (!strcmp(what, "unmap-kernel-by-gate")) {
    gate(SYS_munmap, KERNEL_BASE, KERNEL_END - KERNEL_BASE, 0, 0, 0, 0);
    puts("came back");
  } else if (!strcmp(what, "write-kernel-text")) {
    *(volatile int*)KERNEL_BASE = 0;
  } else if (!strcmp(what, "write-kernel-memory")) {
    for (uint64_t at = MEMORY_BASE + PAGE;; at += PAGE) *(volatile uint64_t*)at = ~0ul;
  } else if (!strcmp(what, "gs-base")) {
    __asm__ volatile("wrgsbase %0" : : "r"(0x1234ul));
    syscall(SYS_getppid);
    syscall(SYS_getpid);
  } else if (!strcmp(what, "int80")) {
    __asm__ volatile("int $0x80" : : "a"(20));  // getpid of 32-bit programs
    puts("came back");
  } else {
    return 2;
  }
  return 0;
}
