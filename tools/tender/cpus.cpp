#include "cpus.hpp"

#include <asm/prctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <new>

#include "error.hpp"

namespace aril::tender {
namespace {

/// As the kernel of the host has it, not the C library.
struct KernelSigaction {
  uint64_t handler;
  unsigned long flags;
  uint64_t restorer;
  uint64_t mask;
};
constexpr unsigned long kRestorer = 0x0400'0000;

constexpr bool is_exception(int signal) {
  return signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL ||
         signal == SIGTRAP || signal == SIGSYS;
}

uint64_t stack_top(const ProcessKernel& kernel, unsigned cpu) {
  return kernel.start_stacks + (cpu + 1) * kernel.start_stack_size;
}

/// In the thread of that CPU.
void set_up_thread(const ProcessKernel& kernel, unsigned cpu) {
  stack_t stack{};
  stack.ss_sp = reinterpret_cast<void*>(kernel.signal_stacks + cpu * kernel.signal_stack_size);
  stack.ss_size = kernel.signal_stack_size;
  syscall(SYS_sigaltstack, &stack, nullptr);
  syscall(SYS_arch_prctl, ARCH_SET_GS, kernel.cpu_blocks + cpu * kernel.cpu_block_size);
}

/// What a new thread finds on its stack.
struct Start {
  const ProcessKernel* kernel;
  uint64_t cpu;
  std::atomic<bool> is_set_up{false};
};

/// The first function of a new thread, which has the caller's thread-local storage: nothing that
/// uses it may be called. Inline assembly, so that nothing is left to the compiler at the jump.
[[gnu::used, noreturn]] void run_thread(Start* start) {
  const ProcessKernel& kernel = *start->kernel;
  const uint64_t cpu = start->cpu;
  set_up_thread(kernel, static_cast<unsigned>(cpu));
  // The calls above are none that the filter allows.
  start->is_set_up.store(true, std::memory_order_release);
  asm volatile("movq %0, %%rsp; movq %1, %%rdi; jmp *%2"
               :
               : "r"(stack_top(kernel, static_cast<unsigned>(cpu))), "r"(cpu),
                 "r"(kernel.secondary_entry)
               : "rdi", "memory");
  __builtin_unreachable();
}

int new_thread(const ProcessKernel& kernel, unsigned cpu) {
  // Out of the way of what the kernel puts at the top.
  auto* start = reinterpret_cast<Start*>(stack_top(kernel, cpu) - kernel.start_stack_size / 2);
  new (start) Start{&kernel, cpu};
  constexpr uint64_t kFlags =
      CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
  register uint64_t r10 asm("r10") = 0;
  register uint64_t r8 asm("r8") = 0;
  int64_t result;
  asm volatile(
      "syscall\n"
      "testq %%rax, %%rax\n"
      "jnz 1f\n"
      "xorl %%ebp, %%ebp\n"
      "movq %%rsp, %%rdi\n"
      "callq *%[run]\n"
      "1:\n"
      : "=a"(result)
      : "a"(SYS_clone), "D"(kFlags), "S"(start), "d"(uint64_t{0}), "r"(r10),
        "r"(r8), [run] "r"(&run_thread)
      : "rcx", "r11", "memory");
  if (result < 0) die("clone", static_cast<int>(-result));
  while (!start->is_set_up.load(std::memory_order_acquire)) sched_yield();
  return static_cast<int>(result);
}

int new_timer(int thread) {
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = kTimerSignal;
  event._sigev_un._tid = thread;
  int timer = -1;
  if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) != 0) die("timer_create", errno);
  return timer;
}

/// The C library has told the host of memory that this thread is about to lose.
void forget_registrations() {
  if (__rseq_size != 0) {
    auto* area = static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
    // The size that it was registered with is not told apart from what is in use [rseq(2)].
    for (const unsigned size : {32u, __rseq_size}) {
      if (syscall(SYS_rseq, area, size, RSEQ_FLAG_UNREGISTER, RSEQ_SIG) == 0) break;
    }
  }
  syscall(SYS_set_robust_list, nullptr, sizeof(uint64_t) * 3);
  syscall(SYS_set_tid_address, nullptr);
}

}  // namespace

void direct_signals(const ProcessKernel& kernel) {
  uint64_t interrupts = 0;
  for (const int signal : kProcessSignals) {
    if (!is_exception(signal)) interrupts |= uint64_t{1} << (signal - 1);
  }
  for (const int signal : kProcessSignals) {
    const KernelSigaction action{kernel.signal_handler,
                                 SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART | kRestorer,
                                 kernel.signal_return, interrupts};
    if (syscall(SYS_rt_sigaction, signal, &action, nullptr, sizeof(uint64_t)) != 0)
      die("rt_sigaction", errno);
  }
  signal(SIGPIPE, SIG_IGN);
  // Whoever started this may have blocked some.
  const uint64_t none = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof none);
}

void make_cpus(const ProcessKernel& kernel, ProcessBoot& boot) {
  boot.process_id = getpid();
  for (unsigned cpu = 0; cpu < boot.cpu_count; ++cpu) {
    const uint64_t block = kernel.cpu_blocks + cpu * kernel.cpu_block_size;
    *reinterpret_cast<uint64_t*>(block) = block;
  }
  boot.thread_ids[0] = boot.process_id;
  boot.timer_ids[0] = new_timer(boot.process_id);
  set_up_thread(kernel, 0);
  for (unsigned cpu = 1; cpu < boot.cpu_count; ++cpu) {
    boot.thread_ids[cpu] = new_thread(kernel, cpu);
    boot.timer_ids[cpu] = new_timer(boot.thread_ids[cpu]);
  }
  forget_registrations();
}

void enter_kernel(const ProcessKernel& kernel, const ProcessBoot& boot) {
  asm volatile("movq %0, %%rsp; movq %1, %%rdi; jmp *%2"
               :
               : "r"(stack_top(kernel, 0)), "r"(&boot), "r"(kernel.entry)
               : "rdi", "memory");
  __builtin_unreachable();
}

}  // namespace aril::tender
