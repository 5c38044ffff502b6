// Delivery, masks, stacks, restarts, queues.
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdint>
#include <vector>

#include "check.hpp"

static volatile int count, last_value;
static volatile pid_t last_pid;
static volatile void* handler_stack;
static void counting(int) { ++count; }
static void with_info(int, siginfo_t* info, void*) {
  char here;
  handler_stack = &here;
  last_value = info->si_value.sival_int;
  last_pid = info->si_pid;
  ++count;
}
static void handle(int number, int flags = 0) {
  struct sigaction action = {};
  action.sa_flags = flags | SA_SIGINFO;
  action.sa_sigaction = with_info;
  sigaction(number, &action, nullptr);
  count = 0;
}
static sigset_t only(int number) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, number);
  return set;
}

PROPERTY(raise_runs_the_handler_before_it_returns) {
  handle(SIGUSR1);
  CHECK_EQ(raise(SIGUSR1), 0);
  CHECK_EQ((int)count, 1);
  CHECK_EQ((int)last_pid, getpid());
}
PROPERTY(ignored_signals_do_nothing) {
  signal(SIGUSR1, SIG_IGN);
  CHECK_EQ(raise(SIGUSR1), 0);
  CHECK_EQ(kill(getpid(), 0), 0);
  CHECK_ERRNO(kill(getpid(), 65), EINVAL);
  CHECK_ERRNO(kill(999999, SIGUSR1), ESRCH);
}
PROPERTY(blocked_signals_wait) {
  handle(SIGUSR1);
  sigset_t set = only(SIGUSR1), pending;
  CHECK_EQ(sigprocmask(SIG_BLOCK, &set, nullptr), 0);
  raise(SIGUSR1);
  raise(SIGUSR1);
  CHECK_EQ((int)count, 0);
  CHECK_EQ(sigpending(&pending), 0);
  CHECK(sigismember(&pending, SIGUSR1));
  CHECK_EQ(sigprocmask(SIG_UNBLOCK, &set, nullptr), 0);
  CHECK_EQ((int)count, 1);
}
PROPERTY(realtime_signals_queue_in_order_with_values) {
  handle(SIGRTMIN);
  sigset_t set = only(SIGRTMIN);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  for (int i = 1; i <= 3; ++i) CHECK_EQ(sigqueue(getpid(), SIGRTMIN, sigval{i}), 0);
  siginfo_t info;
  for (int i = 1; i <= 3; ++i) {
    CHECK_EQ(sigwaitinfo(&set, &info), SIGRTMIN);
    CHECK_EQ(info.si_value.sival_int, i);
    CHECK_EQ(info.si_code, SI_QUEUE);
  }
  struct timespec none = {};
  CHECK_ERRNO(sigtimedwait(&set, &info, &none), EAGAIN);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}
PROPERTY(alternate_stack_is_used) {
  static char stack[65536];
  stack_t alternate = {stack, 0, sizeof stack}, old;
  CHECK_EQ(sigaltstack(&alternate, nullptr), 0);
  handle(SIGUSR2, SA_ONSTACK);
  raise(SIGUSR2);
  CHECK_EQ((int)count, 1);
  CHECK((char*)handler_stack >= stack && (char*)handler_stack < stack + sizeof stack);
  CHECK_EQ(sigaltstack(nullptr, &old), 0);
  CHECK(old.ss_sp == stack && old.ss_flags == 0);
  alternate.ss_flags = SS_DISABLE;
  CHECK_EQ(sigaltstack(&alternate, nullptr), 0);
}
PROPERTY(reset_and_nodefer_flags) {
  struct sigaction now;
  handle(SIGUSR1, SA_RESETHAND);
  raise(SIGUSR1);
  sigaction(SIGUSR1, nullptr, &now);
  CHECK(now.sa_handler == SIG_DFL);
  CHECK_ERRNO(sigaction(SIGKILL, &now, nullptr), EINVAL);
}
static volatile int inside;
static void check_mask(int) {
  sigset_t mask;
  sigprocmask(SIG_BLOCK, nullptr, &mask);
  inside = sigismember(&mask, SIGUSR1) * 2 + sigismember(&mask, SIGUSR2);
}
PROPERTY(handlers_run_with_the_action_mask) {
  struct sigaction action = {};
  action.sa_handler = check_mask;
  sigaddset(&action.sa_mask, SIGUSR2);
  sigaction(SIGUSR1, &action, nullptr);
  raise(SIGUSR1);
  CHECK_EQ((int)inside, 3);
  sigset_t mask;
  sigprocmask(SIG_BLOCK, nullptr, &mask);
  CHECK(!sigismember(&mask, SIGUSR1) && !sigismember(&mask, SIGUSR2));
}
PROPERTY(a_handler_interrupts_a_read) {
  struct sigaction action = {};
  action.sa_handler = counting;
  sigaction(SIGALRM, &action, nullptr);
  count = 0;
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  struct itimerval timer = {{0, 0}, {0, 20000}};
  setitimer(ITIMER_REAL, &timer, nullptr);
  char byte;
  CHECK_ERRNO(read(ends[0], &byte, 1), EINTR);
  CHECK_EQ((int)count, 1);
  close(ends[0]);
  close(ends[1]);
}
static int restart_pipe[2];
static void write_byte(int) { (void)!write(restart_pipe[1], "r", 1); }
PROPERTY(sa_restart_restarts_a_read) {
  struct sigaction action = {};
  action.sa_handler = write_byte;
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, nullptr);
  CHECK_EQ(pipe(restart_pipe), 0);
  struct itimerval timer = {{0, 0}, {0, 20000}};
  setitimer(ITIMER_REAL, &timer, nullptr);
  char byte = 0;
  CHECK_EQ(read(restart_pipe[0], &byte, 1), 1);
  CHECK_EQ(byte, 'r');
  close(restart_pipe[0]);
  close(restart_pipe[1]);
}
PROPERTY(nanosleep_tells_what_remains) {
  struct sigaction action = {};
  action.sa_handler = counting;
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, nullptr);
  struct itimerval timer = {{0, 0}, {0, 20000}};
  setitimer(ITIMER_REAL, &timer, nullptr);
  struct timespec wanted = {10, 0}, left = {};
  CHECK_ERRNO(nanosleep(&wanted, &left), EINTR);
  CHECK(left.tv_sec >= 8 && left.tv_sec < 10);
}
PROPERTY(sigsuspend_waits_with_another_mask) {
  handle(SIGUSR1);
  sigset_t set = only(SIGUSR1), none;
  sigemptyset(&none);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  raise(SIGUSR1);
  CHECK_ERRNO(sigsuspend(&none), EINTR);
  CHECK_EQ((int)count, 1);
  sigset_t mask;
  sigprocmask(SIG_UNBLOCK, &set, &mask);
  CHECK(sigismember(&mask, SIGUSR1));
}
PROPERTY(signalfd_reads_signals) {
  sigset_t set = only(SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  int fd = signalfd(-1, &set, SFD_NONBLOCK);
  CHECK(fd >= 0);
  signalfd_siginfo info;
  CHECK_ERRNO(read(fd, &info, sizeof info), EAGAIN);
  raise(SIGUSR1);
  CHECK_EQ(read(fd, &info, sizeof info), (ssize_t)sizeof info);
  CHECK_EQ(info.ssi_signo, (uint32_t)SIGUSR1);
  close(fd);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}
static void bump_rax(int, siginfo_t*, void* context) {
  ((ucontext_t*)context)->uc_mcontext.gregs[REG_RIP] += 2;
}
PROPERTY(a_handler_can_change_the_registers) {
  struct sigaction action = {}, old;
  action.sa_sigaction = bump_rax;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGILL, &action, &old);
  asm volatile("ud2");  // two bytes, which the handler steps over
  sigaction(SIGILL, &old, nullptr);
}
static volatile int fpe_code;
static sigjmp_buf out;
static void on_fpe(int, siginfo_t* info, void*) {
  fpe_code = info->si_code;
  siglongjmp(out, 1);
}
PROPERTY(division_by_zero_is_sigfpe) {
  struct sigaction action = {};
  action.sa_sigaction = on_fpe;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGFPE, &action, nullptr);
  volatile int zero = 0, one = 1;
  if (sigsetjmp(out, 1) == 0) one = one / zero;
  CHECK_EQ((int)fpe_code, FPE_INTDIV);
}
PROPERTY(vector_registers_survive_a_handler) {
  static volatile double sink;
  struct sigaction action = {};
  action.sa_handler = [](int) {
    double x = 1.5;
    for (int i = 0; i < 100; ++i) x = x * 1.01 + 0.5;
    sink = x;
  };
  sigaction(SIGUSR1, &action, nullptr);
  double before = 3.25, after;
  pid_t self = getpid();
  asm volatile(
      "movsd %1, %%xmm9\n\t"
      "syscall\n\t"
      "movsd %%xmm9, %0"
      : "=m"(after)
      : "m"(before), "a"(SYS_kill), "D"((long)self), "S"((long)SIGUSR1)
      : "rcx", "r11", "memory", "xmm9");
  CHECK(after == 3.25);
}
// A system call by hand: what it leaves of the registers and flags that the ABI says it keeps.
struct Kept {
  unsigned long flags, flags_in_r11, rbx, rdx, rsi, r8, r12, r15;
};
static Kept after_system_call(long number, unsigned long flags) {
  Kept kept;
  register unsigned long rdx asm("rdx") = 2, rsi asm("rsi") = 3, r8 asm("r8") = 4;
  register unsigned long r12 asm("r12") = 5, r15 asm("r15") = 6, rbx asm("rbx") = 7;
  register unsigned long r11 asm("r11") = 8, r14 asm("r14") = flags;
  asm volatile(
      "leaq -128(%%rsp), %%rsp\n\t"  // not over the red zone
      "pushq %%r14\n\t"
      "popfq\n\t"
      "syscall\n\t"
      "pushfq\n\t"
      "popq %%r14\n\t"
      "cld\n\t"
      "pushq $0x202\n\t"
      "popfq\n\t"
      "leaq 128(%%rsp), %%rsp"
      : "+a"(number), "+r"(rdx), "+r"(rsi), "+r"(r8), "+r"(r12), "+r"(r15), "+r"(rbx), "+r"(r11),
        "+r"(r14)
      : "D"(0L)
      : "rcx", "memory", "cc");
  return {r14, r11, rbx, rdx, rsi, r8, r12, r15};
}
PROPERTY(registers_and_flags_survive_system_calls_under_fire) {
  constexpr unsigned long kAlways = 0x202, kCarry = 1, kParity = 4, kAdjust = 16, kZero = 64;
  constexpr unsigned long kSign = 128, kDirection = 0x400, kOverflow = 0x800, kId = 0x200000;
  struct sigaction action = {};
  action.sa_handler = counting;
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, nullptr);
  count = 0;
  struct itimerval often = {{0, 200}, {0, 200}};
  setitimer(ITIMER_REAL, &often, nullptr);
  const unsigned long kinds[] = {
      0,         kCarry,  kZero | kParity,  kSign | kAdjust,
      kOverflow, kId,     kDirection,       kOverflow | kSign | kCarry | kParity,
      kZero,     kAdjust, kDirection | kId, kCarry | kZero | kSign | kOverflow | kAdjust};
  const long calls[] = {SYS_getppid, SYS_sched_yield, -1, SYS_getppid};
  bool same = true;
  for (int i = 0; i < 200000 && same; ++i) {
    unsigned long flags = kAlways | kinds[i % 12];
    Kept kept = after_system_call(calls[i / 12 % 4], flags);
    same = kept.flags == flags && kept.flags_in_r11 == flags && kept.rdx == 2 && kept.rsi == 3 &&
           kept.r8 == 4 && kept.r12 == 5 && kept.r15 == 6 && kept.rbx == 7;
  }
  struct itimerval off = {};
  setitimer(ITIMER_REAL, &off, nullptr);
  CHECK(same);
  CHECK(count > 3);
}
PROPERTY(a_million_signals_to_oneself) {
  struct sigaction action = {};
  action.sa_handler = counting;
  sigaction(SIGUSR1, &action, nullptr);
  count = 0;
  for (int i = 0; i < 20000; ++i) raise(SIGUSR1);
  CHECK_EQ((int)count, 20000);
}
static void* wait_for_signal(void* result) {
  sigset_t set = only(SIGUSR2);
  int number = 0;
  sigwait(&set, &number);
  *(int*)result = number;
  return nullptr;
}
PROPERTY(pthread_kill_reaches_one_thread) {
  sigset_t set = only(SIGUSR2);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  int result = 0;
  pthread_t thread;
  pthread_create(&thread, nullptr, wait_for_signal, &result);
  CHECK_EQ(pthread_kill(thread, SIGUSR2), 0);
  pthread_join(thread, nullptr);
  CHECK_EQ(result, SIGUSR2);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}
PROPERTY(a_broken_pipe_is_a_signal_and_an_error) {
  handle(SIGPIPE);
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  close(ends[0]);
  CHECK_ERRNO(write(ends[1], "x", 1), EPIPE);
  CHECK_EQ((int)count, 1);
  close(ends[1]);
}
PROPERTY(posix_timers_fire) {
  handle(SIGRTMIN);
  struct sigevent event = {};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGRTMIN;
  event.sigev_value.sival_int = 77;
  timer_t timer;
  CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
  struct itimerspec when = {{0, 0}, {0, 10'000'000}};
  CHECK_EQ(timer_settime(timer, 0, &when, nullptr), 0);
  for (int i = 0; i < 200 && count == 0; ++i) usleep(5000);
  CHECK_EQ((int)count, 1);
  CHECK_EQ((int)last_value, 77);
  CHECK_EQ(timer_delete(timer), 0);
}
PROPERTY(the_return_from_a_handler_stays_recognisable) {
  // Unwinders look for these instructions.
  struct {
    void (*handler)(int);
    unsigned long flags;
    const char* restorer;
    unsigned long mask;
  } kernel_action = {};
  struct sigaction action = {};
  action.sa_handler = counting;
  sigaction(SIGUSR1, &action, nullptr);
  CHECK_EQ(syscall(SYS_rt_sigaction, SIGUSR1, nullptr, &kernel_action, 8L), 0);
  constexpr char kReturn[] = "\x48\xc7\xc0\x0f\0\0\0\x0f\x05";
  CHECK_EQ(memcmp(kernel_action.restorer, kReturn, sizeof kReturn - 1), 0);
  for (int i = 0; i < 10; ++i) raise(SIGUSR1);
  CHECK_EQ(memcmp(kernel_action.restorer, kReturn, sizeof kReturn - 1), 0);
}
