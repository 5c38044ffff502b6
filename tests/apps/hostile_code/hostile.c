// Runs one sequence of instructions that no program should contain: hostile NAME. Applications of
// Aril run in ring 0, so the CPU obeys most of them. "went on" means that the program is none the
// worse.
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const struct __attribute__((packed)) {
  uint16_t limit;
  uint64_t base;
} kNoTable = {0, 0};

static void spend_some_time(void) {
  struct timespec time = {.tv_nsec = 50000000};
  nanosleep(&time, NULL);
  for (volatile int i = 0; i < 10000000; ++i) {}
  (void)getppid();
}

static void write_msr(uint32_t number, uint64_t value) {
  asm volatile("wrmsr" : : "c"(number), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

// Interrupts.
static void cli_halt(void) { asm volatile("cli; hlt"); }
static void cli_loop(void) { asm volatile("cli; 1: jmp 1b"); }
static void popf_loop(void) { asm volatile("pushq $2; popfq; 1: jmp 1b"); }
static void cli_fault(void) { asm volatile("cli; movl $1, 0"); }
static void cli_calls(void) {
  for (int i = 0; i < 1000; ++i) {
    asm volatile("cli");
    (void)getppid();
  }
  spend_some_time();
}
static void halt(void) { asm volatile("hlt"); }
static void high_priority(void) {
  asm volatile("movq %0, %%cr8" : : "r"(15ul));
  spend_some_time();
}
static void apic_off(void) {
  write_msr(0x1b, 0);
  spend_some_time();
}

// Software interrupts, with gates that push an error code and others.
static void int_2(void) { asm volatile("int $2"); }
static void int_8(void) { asm volatile("int $8"); }
static void int_13(void) { asm volatile("int $13"); }
static void int_14(void) { asm volatile("int $14"); }
static void int_18(void) { asm volatile("int $18"); }
static void int_32(void) { asm volatile("int $32"); }
static void int_240(void) { asm volatile("int $240"); }

// Tables and registers that the kernel needs.
static void no_idt(void) { asm volatile("lidt %0; ud2" : : "m"(kNoTable)); }
static void no_idt_quiet(void) { asm volatile("lidt %0; 1: jmp 1b" : : "m"(kNoTable)); }
static void no_gdt(void) {
  asm volatile("lgdt %0" : : "m"(kNoTable));
  spend_some_time();
}
static void no_page_table(void) { asm volatile("movq %0, %%cr3" : : "r"(0ul)); }
static void no_paging(void) {
  asm volatile("movq %%cr0, %%rax; btrq $31, %%rax; movq %%rax, %%cr0" : : : "rax");
}
static void no_efer(void) {
  write_msr(0xc0000080, 0);
  spend_some_time();
}
static void wrong_entry(void) {
  write_msr(0xc0000082, 0x1234);
  asm volatile("syscall" : : "a"(39l) : "rcx", "r11", "memory");
}
static void wrong_gs(void) {
  write_msr(0xc0000101, 0);
  spend_some_time();
  unsigned short none = 0;
  asm volatile("movw %0, %%gs" : : "r"(none));
  spend_some_time();
}
static void swap_gs(void) {
  asm volatile("swapgs");
  spend_some_time();
}
static void no_gs_instructions(void) {
  asm volatile("movq %%cr4, %%rax; btrq $16, %%rax; movq %%rax, %%cr4" : : : "rax");
  spend_some_time();
}
static void nested_task(void) {
  asm volatile("pushfq; orl $0x4000, (%%rsp); popfq" : : : "cc", "memory");
  spend_some_time();
}
static void bad_return(void) {
  asm volatile("pushq $99; pushq $99; pushq $99; pushq $99; pushq $99; iretq");
}

// Stacks and jumps.
static void no_stack(void) { asm volatile("xorl %esp, %esp; pushq $1"); }
static void wild_stack(void) { asm volatile("movabsq $0x8000000000001234, %rsp; pushq $1"); }
static void kernel_stack(void) { asm volatile("movq $0xffffffff80200000, %rsp; pushq $1"); }
static void jump_into_kernel(void) { ((void (*)(void))0xffffffff80200003)(); }
static void jump_nowhere(void) { ((void (*)(void))0xffffdead00000000)(); }

// The kernel's page tables and what lies behind them, through its map of all memory.
static void overwrite_kernel(void) {
  uint64_t table;
  asm volatile("movq %%cr3, %0" : "=r"(table));
  memset((void*)(0xffff800000000000 + (table & ~0xffful)), 0xcc, 1 << 20);
  spend_some_time();
}

// Devices.
static void reset_ports(void) {
  asm volatile("outb %b0, $0x64" : : "a"(0xfe));
  asm volatile("outb %b0, %w1" : : "a"(6), "d"(0xcf9));
  spend_some_time();
}

static sigjmp_buf caught;
static void on_signal(int number) { siglongjmp(caught, number); }

// Linux's signal, where there is one, can be caught.
static void handled(void) {
  void (*const sequences[])(void) = {cli_halt, int_13, cli_loop, int_8, no_stack, bad_return};
  stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536};
  sigaltstack(&stack, NULL);
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
  for (size_t i = 0; i < sizeof sequences / sizeof *sequences; ++i) {
    int number = sigsetjmp(caught, 1);
    if (number == 0) {
      sequences[i]();
      puts("not stopped");
      exit(1);
    }
    printf("signal %d\n", number);
    fflush(stdout);
  }
}

// One process of several dies of it, and the others go on.
static void in_a_child(void) {
  for (int i = 0; i < 2; ++i) {
    pid_t pid = fork();
    if (pid == 0) (i == 0 ? cli_halt : cli_loop)();
    int status = 0;
    waitpid(pid, &status, 0);
    printf("child ended by %d\n", WTERMSIG(status));
  }
}

static uint64_t state;
static uint64_t next_random(void) {  // xorshift64*
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 0x2545f4914f6cdd1d;
}

static void run_random_page(void) {
  uint64_t* page =
      mmap(NULL, 16384, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < 512; ++i) page[i] = next_random();
  struct itimerval limit = {.it_value = {.tv_usec = 300000}};
  setitimer(ITIMER_REAL, &limit, NULL);
  alarm(2);
  uint64_t r[6];
  for (int i = 0; i < 6; ++i) r[i] = next_random() >> (next_random() & 63);
  asm volatile(
      "movq %0, %%rax; movq %1, %%rbx; movq %2, %%rsi; movq %3, %%rdi; movq %4, %%r8\n"
      "jmp *%5"
      :
      : "m"(r[0]), "m"(r[1]), "m"(r[2]), "m"(r[3]), "m"(r[4]), "d"(page)
      : "rax", "rbx", "rsi", "rdi", "r8");
}

static void random_pages(uint64_t seed, int count) {
  for (int i = 0; i < count; ++i) {
    printf("%d\n", i);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
      state = (seed + (uint64_t)i) * 0x9e3779b97f4a7c15 + 1;
      struct rlimit none = {0, 0}, few = {8, 8};
      setrlimit(RLIMIT_CORE, &none);
      setrlimit(RLIMIT_NPROC, &few);
      close(1);
      run_random_page();
    }
    waitpid(pid, NULL, 0);
  }
}

#define ENTRY(name) {#name, name}
static const struct {
  const char* name;
  void (*run)(void);
} kSequences[] = {
    ENTRY(cli_halt),
    ENTRY(cli_loop),
    ENTRY(popf_loop),
    ENTRY(cli_fault),
    ENTRY(cli_calls),
    ENTRY(halt),
    ENTRY(high_priority),
    ENTRY(apic_off),
    ENTRY(int_2),
    ENTRY(int_8),
    ENTRY(int_13),
    ENTRY(int_14),
    ENTRY(int_18),
    ENTRY(int_32),
    ENTRY(int_240),
    ENTRY(no_idt),
    ENTRY(no_idt_quiet),
    ENTRY(no_gdt),
    ENTRY(no_page_table),
    ENTRY(no_paging),
    ENTRY(no_efer),
    ENTRY(wrong_entry),
    ENTRY(wrong_gs),
    ENTRY(swap_gs),
    ENTRY(no_gs_instructions),
    ENTRY(nested_task),
    ENTRY(bad_return),
    ENTRY(no_stack),
    ENTRY(wild_stack),
    ENTRY(kernel_stack),
    ENTRY(jump_into_kernel),
    ENTRY(jump_nowhere),
    ENTRY(overwrite_kernel),
    ENTRY(reset_ports),
    ENTRY(handled),
    ENTRY(in_a_child),
};

int main(int count, char** arguments) {
  if (count == 4 && strcmp(arguments[1], "random") == 0) {
    random_pages(strtoull(arguments[2], NULL, 0), atoi(arguments[3]));
    puts("went on");
    return 0;
  }
  for (size_t i = 0; count == 2 && i < sizeof kSequences / sizeof *kSequences; ++i) {
    if (strcmp(arguments[1], kSequences[i].name) != 0) continue;
    kSequences[i].run();
    puts("went on");
    return 0;
  }
  return 2;
}
