// variants: dynamic static
// What a system call leaves of the registers, through both of Aril's doors: sites that are
// rewritten into jumps, and sites that cannot be.
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "check.hpp"

namespace {

struct Registers {
  uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15, flags;
};
static_assert(offsetof(Registers, flags) == 120);

using Call = void (*)(Registers*);

}  // namespace

// void NAME(Registers*): makes a system call with these registers, and stores what they are then.
// NAME_end is where it comes back to.
#define CALL_BY(name, site)                                                                    \
  extern "C" void name(Registers*);                                                            \
  extern "C" const char name##_end[];                                                          \
  asm(".text\n.balign 16\n.skip 64, 0x90\n.globl " #name "\n" #name                            \
      ":\n"                                                                                    \
      "pushq %rbx\npushq %rbp\npushq %r12\npushq %r13\npushq %r14\npushq %r15\npushq %rdi\n"   \
      "pushq 120(%rdi)\npopfq\n"                                                               \
      "movq 0(%rdi), %rax\nmovq 8(%rdi), %rbx\nmovq 24(%rdi), %rdx\nmovq 32(%rdi), %rsi\n"     \
      "movq 48(%rdi), %rbp\nmovq 56(%rdi), %r8\nmovq 64(%rdi), %r9\nmovq 72(%rdi), %r10\n"     \
      "movq 88(%rdi), %r12\nmovq 96(%rdi), %r13\nmovq 104(%rdi), %r14\nmovq 112(%rdi), %r15\n" \
      "movq 40(%rdi), %rdi\n" site "\n.globl " #name "_end\n" #name                            \
      "_end:\n"                                                                                \
      "pushfq\nxchgq %rax, 8(%rsp)\n"                                                          \
      "movq %rbx, 8(%rax)\nmovq %rcx, 16(%rax)\nmovq %rdx, 24(%rax)\nmovq %rsi, 32(%rax)\n"    \
      "movq %rdi, 40(%rax)\nmovq %rbp, 48(%rax)\nmovq %r8, 56(%rax)\nmovq %r9, 64(%rax)\n"     \
      "movq %r10, 72(%rax)\nmovq %r11, 80(%rax)\nmovq %r12, 88(%rax)\nmovq %r13, 96(%rax)\n"   \
      "movq %r14, 104(%rax)\nmovq %r15, 112(%rax)\n"                                           \
      "popq 120(%rax)\npopq 0(%rax)\n"                                                         \
      "pushq $0x202\npopfq\n"                                                                  \
      "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbp\npopq %rbx\nret\n")

CALL_BY(call_anything, "syscall");
CALL_BY(call_getppid, "movl $110, %eax\nsyscall");
// The number is not what is loaded last.
CALL_BY(call_getppid_after_rdi, "movl $110, %eax\nmovl $-100, %edi\nsyscall");
CALL_BY(call_getppid_after_r10, "movl $110, %eax\nmovl $8, %r10d\nsyscall");
CALL_BY(call_sched_yield, "movl $24, %eax\nsyscall");
CALL_BY(call_sigaltstack, "movl $131, %eax\nsyscall");
CALL_BY(call_missing, "movl $400, %eax\nsyscall");
CALL_BY(call_kill, "movl $62, %eax\nsyscall");
CALL_BY(call_read, "movl $0, %eax\nsyscall");
CALL_BY(call_fork, "movl $57, %eax\nsyscall");

namespace {

constexpr uint64_t kAlways = 0x202, kCarry = 1, kParity = 4, kAdjust = 16, kZero = 64, kSign = 128,
                   kDirection = 0x400, kOverflow = 0x800, kAlignment = 0x40000, kId = 0x200000;
constexpr uint64_t kFlags[] = {0,         kCarry,
                               kId,       kZero | kParity,
                               kOverflow, kSign | kAdjust,
                               kZero,     kOverflow | kSign | kCarry | kParity,
                               kAdjust,   kCarry | kZero | kSign | kOverflow | kAdjust};

Registers pattern(uint64_t n) {
  auto mixed = [&](uint64_t i) { return (n * 16 + i) * 0x9e37'79b9'7f4a'7c15u; };
  return {.rax = mixed(0),
          .rbx = mixed(1),
          .rcx = mixed(2),
          .rdx = mixed(3),
          .rsi = mixed(4),
          .rdi = mixed(5),
          .rbp = mixed(6),
          .r8 = mixed(7),
          .r9 = mixed(8),
          .r10 = mixed(9),
          .r11 = 0,
          .r12 = mixed(10),
          .r13 = mixed(11),
          .r14 = mixed(12),
          .r15 = mixed(13),
          .flags = kAlways | kFlags[n % std::size(kFlags)]};
}

/// Makes the call and compares all that is to be kept; the result comes back in `result`.
bool keeps(Call call, const char* end, const Registers& before, int64_t& result) {
  Registers after = before;
  call(&after);
  result = static_cast<int64_t>(after.rax);
  Registers expected = before;
  expected.rax = after.rax;
  expected.rcx = reinterpret_cast<uint64_t>(end);
  expected.r11 = before.flags;
  return std::memcmp(&after, &expected, sizeof after) == 0;
}
#define KEEPS(name, before, result) keeps(name, name##_end, before, result)

bool round(uint64_t n) {
  int64_t result = 0;
  Registers anything = pattern(n);
  anything.rax = SYS_getppid;
  if (!KEEPS(call_anything, anything, result) || result != getppid()) return false;
  anything.rax = 5000 + n;
  if (!KEEPS(call_anything, anything, result) || result != -ENOSYS) return false;
  if (!KEEPS(call_getppid, pattern(n), result) || result != getppid()) return false;
  Registers loaded = pattern(n);
  loaded.rdi = 0xffff'ff9c;
  if (!KEEPS(call_getppid_after_rdi, loaded, result) || result != getppid()) return false;
  loaded = pattern(n);
  loaded.r10 = 8;
  if (!KEEPS(call_getppid_after_r10, loaded, result) || result != getppid()) return false;
  if (!KEEPS(call_sched_yield, pattern(n), result) || result != 0) return false;
  if (!KEEPS(call_missing, pattern(n), result) || result != -ENOSYS) return false;
  Registers stack = pattern(n);
  stack.rdi = stack.rsi = 0;
  return KEEPS(call_sigaltstack, stack, result) && result == 0;
}

std::atomic<int> alarms;
void on_alarm(int) { alarms.fetch_add(1); }
void handle(int number, int flags, void (*handler)(int, siginfo_t*, void*)) {
  struct sigaction action = {};
  action.sa_flags = flags | SA_SIGINFO;
  action.sa_sigaction = handler;
  sigaction(number, &action, nullptr);
}
void start_alarms(int microseconds) {
  struct sigaction action = {};
  action.sa_handler = on_alarm;
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, nullptr);
  alarms = 0;
  struct itimerval often = {{0, microseconds}, {0, microseconds}};
  setitimer(ITIMER_REAL, &often, nullptr);
}
void stop_alarms() {
  struct itimerval off = {};
  setitimer(ITIMER_REAL, &off, nullptr);
}

}  // namespace

PROPERTY(registers_survive_calls) {
  for (uint64_t n = 0; n < 100; ++n) CHECK(round(n));
}
PROPERTY(unusual_flags_survive_calls) {
  for (uint64_t flags : {kDirection, kDirection | kId, kAlignment, kAlignment | kCarry}) {
    int64_t result = 0;
    Registers before = pattern(1);
    before.flags = kAlways | flags;
    for (int i = 0; i < 4; ++i) {
      CHECK(KEEPS(call_getppid, before, result));
      CHECK(KEEPS(call_missing, before, result));
    }
  }
}
PROPERTY(registers_survive_calls_of_many_threads_under_fire) {
  static std::atomic<bool> failed, ended;
  failed = ended = false;
  auto others = [](void* number) -> void* {
    for (uint64_t n = reinterpret_cast<uint64_t>(number); !ended; n += 3)
      if (!round(n)) failed = true;
    return nullptr;
  };
  pthread_t threads[2];
  for (size_t i = 0; i < 2; ++i)
    pthread_create(&threads[i], nullptr, others, reinterpret_cast<void*>(i));
  start_alarms(150);
  for (uint64_t n = 0; (n < 2000 || alarms < 50) && !failed; ++n)
    if (!round(n)) failed = true;
  stop_alarms();
  ended = true;
  for (pthread_t thread : threads) pthread_join(thread, nullptr);
  CHECK(!failed);
}
PROPERTY(a_handler_finds_the_registers_of_the_call) {
  static Registers seen;
  handle(SIGUSR1, 0, [](int, siginfo_t*, void* context) {
    const auto* g = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    auto at = [&](int i) { return static_cast<uint64_t>(g[i]); };
    seen = {at(REG_RAX), at(REG_RBX), at(REG_RCX), at(REG_RDX), at(REG_RSI), at(REG_RDI),
            at(REG_RBP), at(REG_R8),  at(REG_R9),  at(REG_R10), at(REG_R11), at(REG_R12),
            at(REG_R13), at(REG_R14), at(REG_R15), at(REG_EFL)};
  });
  for (uint64_t n = 0; n < 20; ++n) {
    Registers before = pattern(n);
    before.rdi = static_cast<uint64_t>(getpid());
    before.rsi = SIGUSR1;
    int64_t result = 0;
    CHECK(KEEPS(call_kill, before, result));
    CHECK_EQ(result, 0);
    before.rax = 0;
    before.rcx = reinterpret_cast<uint64_t>(call_kill_end);
    before.r11 = before.flags;
    CHECK(std::memcmp(&seen, &before, sizeof seen) == 0);
  }
}
PROPERTY(a_handler_changes_the_registers_of_the_call) {
  handle(SIGUSR1, 0, [](int, siginfo_t*, void* context) {
    auto* g = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    for (int i : {REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RSI, REG_RDI, REG_RBP, REG_R8, REG_R9,
                  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15})
      g[i] = 1000 + i;
  });
  for (uint64_t n = 0; n < 20; ++n) {
    Registers registers = pattern(n);
    registers.rdi = static_cast<uint64_t>(getpid());
    registers.rsi = SIGUSR1;
    uint64_t flags = registers.flags;
    call_kill(&registers);
    const Registers expected = {1000 + REG_RAX, 1000 + REG_RBX, 1000 + REG_RCX, 1000 + REG_RDX,
                                1000 + REG_RSI, 1000 + REG_RDI, 1000 + REG_RBP, 1000 + REG_R8,
                                1000 + REG_R9,  1000 + REG_R10, 1000 + REG_R11, 1000 + REG_R12,
                                1000 + REG_R13, 1000 + REG_R14, 1000 + REG_R15, flags};
    CHECK(std::memcmp(&registers, &expected, sizeof registers) == 0);
  }
}
PROPERTY(registers_survive_a_call_that_is_made_again) {
  int ends[2];
  CHECK_EQ(pipe(ends), 0);
  static int writing_end;
  writing_end = ends[1];
  for (uint64_t n = 0; n < 5; ++n) {
    start_alarms(2000);
    pthread_t writer;
    auto write_late = [](void*) -> void* {
      int before = alarms;
      while (alarms < before + 3) usleep(500);
      (void)write(writing_end, "x", 1);
      return nullptr;
    };
    pthread_create(&writer, nullptr, write_late, nullptr);
    char byte = 0;
    Registers before = pattern(n);
    before.rdi = static_cast<uint64_t>(ends[0]);
    before.rsi = reinterpret_cast<uint64_t>(&byte);
    before.rdx = 1;
    int64_t result = 0;
    bool kept = KEEPS(call_read, before, result);
    pthread_join(writer, nullptr);
    stop_alarms();
    CHECK(kept);
    CHECK_EQ(result, 1);
    CHECK_EQ(byte, 'x');
  }
  close(ends[0]);
  close(ends[1]);
}
PROPERTY(a_child_begins_with_its_parents_registers) {
  for (uint64_t n = 0; n < 5; ++n) {
    int64_t result = 0;
    bool kept = KEEPS(call_fork, pattern(n), result);
    if (result == 0) _exit(kept ? 7 : 8);
    CHECK(kept);
    CHECK(result > 0);
    int status = 0;
    CHECK_EQ(waitpid(static_cast<pid_t>(result), &status, 0), result);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 7);
  }
}
