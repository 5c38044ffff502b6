// Restartable sequences, CPU numbers, CPU time, priorities and affinity, barriers.
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "check.hpp"

namespace {

struct alignas(32) Area {
  uint32_t cpu_id_start, cpu_id;
  uint64_t section;
  uint32_t flags, rest[3];
};
struct alignas(32) Section {
  uint32_t version, flags;
  uint64_t start, length, abort;
};
constexpr uint32_t kSignature = 0x53053053;

// A thread without the C library's own registration.
struct Registered {
  alignas(32) Area area{};
  bool is_registered;
  Registered() {
    // glibc has registered this thread's area: it is given back for the test.
    auto* own = (char*)__builtin_thread_pointer() + __rseq_offset;
    syscall(SYS_rseq, own, 32, 1, kSignature);
    is_registered = syscall(SYS_rseq, &area, 32, 0, kSignature) == 0;
  }
  ~Registered() { syscall(SYS_rseq, &area, 32, 1, kSignature); }
};

void on_alarm(int) {}
void burn(int milliseconds) {
  timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  do clock_gettime(CLOCK_MONOTONIC, &now);
  while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 <
         milliseconds);
}
int64_t ns(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

template <typename Body>
void in_thread(Body body) {
  std::thread(body).join();
}

}  // namespace

PROPERTY(rseq_tells_the_cpu) {
  in_thread([] {
    Registered rseq;
    CHECK(rseq.is_registered);
    CHECK(rseq.area.cpu_id < 64);
    CHECK_EQ(rseq.area.cpu_id_start, rseq.area.cpu_id);
    cpu_set_t set;
    CHECK_EQ(sched_getaffinity(0, sizeof set, &set), 0);
    CHECK(CPU_ISSET(rseq.area.cpu_id, &set));
  });
}

PROPERTY(rseq_registration_errors) {
  in_thread([] {
    Registered rseq;
    alignas(32) static Area other{};
    CHECK_ERRNO(syscall(SYS_rseq, &rseq.area, 32, 0, kSignature), EBUSY);
    CHECK_ERRNO(syscall(SYS_rseq, &rseq.area, 32, 0, 1), EPERM);
    CHECK_ERRNO(syscall(SYS_rseq, &other, 32, 0, kSignature), EINVAL);
    CHECK_ERRNO(syscall(SYS_rseq, &other, 32, 1, kSignature), EINVAL);
    CHECK_ERRNO(syscall(SYS_rseq, &rseq.area, 32, 1, 1), EPERM);
    CHECK_EQ(syscall(SYS_rseq, &rseq.area, 32, 1, kSignature), 0);
    CHECK_EQ(rseq.area.cpu_id, 0xffffffffu);
    CHECK_ERRNO(syscall(SYS_rseq, (char*)&rseq.area + 8, 32, 0, kSignature), EINVAL);
    CHECK_ERRNO(syscall(SYS_rseq, &rseq.area, 31, 0, kSignature), EINVAL);
  });
}

// Spins inside a section until something sends it to the abort handler; then 1.
static int spin_in_a_section(Registered& rseq) {
  static Section section;
  section = {};
  int aborted = 0;
  asm volatile(
      "leaq 1f(%%rip), %%rax\n"
      "movq %%rax, 8(%[section])\n"
      "leaq 2f(%%rip), %%rcx\n"
      "subq %%rax, %%rcx\n"
      "movq %%rcx, 16(%[section])\n"
      "leaq 4f(%%rip), %%rcx\n"
      "movq %%rcx, 24(%[section])\n"
      "movq %[section], 8(%[area])\n"
      "1: pause\n"
      "jmp 1b\n"
      "2: jmp 5f\n"
      ".byte 0x0f, 0xb9, 0x3d\n"
      ".long 0x53053053\n"
      "4: movl $1, %[aborted]\n"
      "5:\n"
      : [aborted] "+r"(aborted)
      : [section] "r"(&section), [area] "r"(&rseq.area)
      : "rax", "rcx", "memory");
  return aborted;
}

PROPERTY(rseq_aborts_a_section_that_a_signal_interrupts) {
  // Only the thread with the section is to get the signal.
  sigset_t alarm;
  sigemptyset(&alarm);
  sigaddset(&alarm, SIGALRM);
  CHECK_EQ(pthread_sigmask(SIG_BLOCK, &alarm, nullptr), 0);
  in_thread([alarm] {
    CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &alarm, nullptr), 0);
    Registered rseq;
    CHECK(rseq.is_registered);
    signal(SIGALRM, on_alarm);
    itimerval timer{{0, 0}, {0, 30000}};
    CHECK_EQ(setitimer(ITIMER_REAL, &timer, nullptr), 0);
    int aborted = spin_in_a_section(rseq);
    CHECK_EQ(aborted, 1);
    CHECK_EQ(rseq.area.section, 0u);
  });
  CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &alarm, nullptr), 0);
}

PROPERTY(rseq_aborts_when_another_thread_runs) {
  in_thread([] {
    cpu_set_t one, all;
    CHECK_EQ(sched_getaffinity(0, sizeof all, &all), 0);
    int cpu = sched_getcpu();
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    std::atomic<bool> stop = false;
    std::thread rival([&] {
      while (!stop) {}
    });
    Registered rseq;
    int aborted = spin_in_a_section(rseq);
    stop = true;
    rival.join();
    CHECK_EQ(aborted, 1);
    CHECK_EQ(rseq.area.cpu_id, (unsigned)cpu);
  });
}

PROPERTY(getcpu_agrees_with_affinity) {
  cpu_set_t all, one;
  CHECK_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &all)) continue;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    unsigned now = 99, node = 99;
    CHECK_EQ(syscall(SYS_getcpu, &now, &node, nullptr), 0);
    CHECK_EQ(now, (unsigned)cpu);
    CHECK_EQ(node, 0u);
    CHECK_EQ(sched_getcpu(), cpu);
    CHECK_EQ(getcpu(&now, &node), 0);
    CHECK_EQ(now, (unsigned)cpu);
  }
  CHECK_EQ(sched_setaffinity(0, sizeof all, &all), 0);
}

PROPERTY(affinity_errors) {
  cpu_set_t none;
  CPU_ZERO(&none);
  CHECK_ERRNO(sched_setaffinity(0, sizeof none, &none), EINVAL);
  CHECK_ERRNO(sched_setaffinity(999999, sizeof none, &none), ESRCH);
  CHECK_ERRNO(syscall(SYS_sched_getaffinity, 0, 7, &none), EINVAL);
  CHECK_ERRNO(syscall(SYS_sched_getaffinity, 0, 8, nullptr), EFAULT);
}

PROPERTY(policies_and_their_priorities) {
  sched_param param{};
  CHECK_EQ(sched_getscheduler(0), SCHED_OTHER);
  CHECK_EQ(sched_getparam(0, &param), 0);
  CHECK_EQ(param.sched_priority, 0);
  CHECK_EQ(sched_get_priority_max(SCHED_FIFO), 99);
  CHECK_EQ(sched_get_priority_min(SCHED_RR), 1);
  CHECK_EQ(sched_get_priority_max(SCHED_OTHER), 0);
  CHECK_ERRNO(sched_get_priority_max(77), EINVAL);
  param.sched_priority = 5;
  CHECK_ERRNO(sched_setscheduler(0, SCHED_OTHER, &param), EINVAL);
  CHECK_ERRNO(sched_setscheduler(0, 77, &param), EINVAL);
  CHECK_ERRNO(sched_setscheduler(-1, SCHED_OTHER, &param), EINVAL);
  param.sched_priority = 0;
  CHECK_EQ(sched_setscheduler(0, SCHED_BATCH, &param), 0);
  CHECK_EQ(sched_getscheduler(0), SCHED_BATCH);
  CHECK_EQ(sched_setscheduler(0, SCHED_OTHER, &param), 0);
  timespec interval;
  CHECK_EQ(sched_rr_get_interval(0, &interval), 0);
  CHECK_ERRNO(sched_rr_get_interval(999999, &interval), ESRCH);
}

PROPERTY(nice_goes_up_and_is_read_back) {
  CHECK_EQ(getpriority(PRIO_PROCESS, 0), 0);
  CHECK_EQ(setpriority(PRIO_PROCESS, 0, 5), 0);
  CHECK_EQ(getpriority(PRIO_PROCESS, 0), 5);
  CHECK_EQ(setpriority(PRIO_PROCESS, 0, 100), 0);
  CHECK_EQ(getpriority(PRIO_PROCESS, 0), 19);
  CHECK_ERRNO(setpriority(77, 0, 0), EINVAL);
  CHECK_ERRNO(setpriority(PRIO_PROCESS, 999999, 0), ESRCH);
  setpriority(PRIO_PROCESS, 0, 0);
}

PROPERTY(cpu_clocks_count_work_and_not_sleep) {
  int64_t before = ns(CLOCK_PROCESS_CPUTIME_ID), thread = ns(CLOCK_THREAD_CPUTIME_ID);
  usleep(50000);
  CHECK(ns(CLOCK_PROCESS_CPUTIME_ID) - before < 40000000);
  burn(50);
  CHECK(ns(CLOCK_PROCESS_CPUTIME_ID) - before > 1000000);
  CHECK(ns(CLOCK_THREAD_CPUTIME_ID) - thread > 1000000);
  clockid_t clock;
  CHECK_EQ(clock_getcpuclockid(getpid(), &clock), 0);
  CHECK(ns(clock) >= before);
  CHECK_EQ(pthread_getcpuclockid(pthread_self(), &clock), 0);
  CHECK(ns(clock) >= thread);
}

PROPERTY(usage_is_of_the_process_or_the_thread) {
  rusage process, thread;
  CHECK_EQ(getrusage(RUSAGE_SELF, &process), 0);
  CHECK_EQ(getrusage(RUSAGE_THREAD, &thread), 0);
  CHECK_ERRNO(getrusage(7, &thread), EINVAL);
  tms ticks;
  CHECK(times(&ticks) != (clock_t)-1);
}

PROPERTY(a_virtual_timer_counts_user_time) {
  static volatile int ticks;
  ticks = 0;
  signal(SIGVTALRM, [](int) { ticks = ticks + 1; });
  itimerval timer{{0, 10000}, {0, 10000}};
  CHECK_EQ(setitimer(ITIMER_VIRTUAL, &timer, nullptr), 0);
  usleep(60000);
  CHECK(ticks <= 1);
  for (int i = 0; i < 200 && ticks < 2; ++i) burn(10);
  CHECK(ticks >= 2);
  timer = {};
  CHECK_EQ(setitimer(ITIMER_VIRTUAL, &timer, nullptr), 0);
}

PROPERTY(a_profiling_timer_counts_all_cpu_time) {
  static volatile int ticks;
  ticks = 0;
  signal(SIGPROF, [](int) { ticks = ticks + 1; });
  itimerval timer{{0, 10000}, {0, 10000}};
  CHECK_EQ(setitimer(ITIMER_PROF, &timer, nullptr), 0);
  for (int i = 0; i < 200 && ticks < 2; ++i) burn(10);
  CHECK(ticks >= 2);
  timer = {};
  CHECK_EQ(setitimer(ITIMER_PROF, &timer, nullptr), 0);
}

PROPERTY(membarrier_needs_registration) {
  CHECK(syscall(SYS_membarrier, 0, 0, 0) > 0);
  CHECK_ERRNO(syscall(SYS_membarrier, 8, 0, 0), EPERM);
  CHECK_EQ(syscall(SYS_membarrier, 16, 0, 0), 0);
  CHECK_EQ(syscall(SYS_membarrier, 8, 0, 0), 0);
  CHECK_EQ(syscall(SYS_membarrier, 1, 0, 0), 0);
  CHECK_ERRNO(syscall(SYS_membarrier, 32, 0, 0), EPERM);
  CHECK_ERRNO(syscall(SYS_membarrier, 1 << 20, 0, 0), EINVAL);
  CHECK_ERRNO(syscall(SYS_membarrier, 0, 77, 0), EINVAL);
}

PROPERTY(threads_yield_to_each_other) {
  std::atomic<int> turn = 0;
  std::thread other([&] {
    for (int i = 0; i < 100; ++i) {
      while (turn != 1) sched_yield();
      turn = 0;
    }
  });
  for (int i = 0; i < 100; ++i) {
    while (turn != 0) sched_yield();
    turn = 1;
  }
  other.join();
  CHECK_EQ(turn.load(), 0);
}
