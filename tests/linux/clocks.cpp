// Clocks, sleeping, interval timers, POSIX timers, timerfd.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include <thread>

#include "check.hpp"

namespace {

constexpr long kMs = 1000000;
int64_t ns(const timespec& time) { return time.tv_sec * 1000000000LL + time.tv_nsec; }
int64_t now(clockid_t clock = CLOCK_MONOTONIC) {
  timespec time;
  clock_gettime(clock, &time);
  return ns(time);
}
timespec spec(int64_t nanoseconds) { return {nanoseconds / 1000000000, nanoseconds % 1000000000}; }

volatile sig_atomic_t signals;
void count(int) { signals = signals + 1; }
void handle(int number, int flags = 0) {
  struct sigaction action{};
  action.sa_handler = count;
  action.sa_flags = flags;
  sigaction(number, &action, nullptr);
  signals = 0;
}

struct PosixTimer {
  timer_t id{};
  bool made;
  explicit PosixTimer(int notify, int number = SIGUSR1, clockid_t clock = CLOCK_MONOTONIC) {
    sigevent event{};
    event.sigev_notify = notify;
    event.sigev_signo = number;
    event.sigev_value.sival_int = 1234;
    made = timer_create(clock, &event, &id) == 0;
  }
  ~PosixTimer() { timer_delete(id); }
  int set(int64_t value, int64_t interval = 0, int flags = 0) {
    itimerspec setting{spec(interval), spec(value)};
    return timer_settime(id, flags, &setting, nullptr);
  }
};

}  // namespace

PROPERTY(clocks_advance_and_agree) {
  for (clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW,
                          CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_TAI}) {
    int64_t first = now(clock);
    usleep(15000);
    CHECK(now(clock) > first);
  }
  timeval day;
  CHECK_EQ(gettimeofday(&day, nullptr), 0);
  int64_t difference = now(CLOCK_REALTIME) - (day.tv_sec * 1000000000LL + day.tv_usec * 1000LL);
  CHECK(difference >= 0 && difference < 500 * kMs);
  CHECK(time(nullptr) - day.tv_sec <= 1);
}
PROPERTY(clocks_have_resolutions) {
  timespec resolution;
  CHECK_EQ(clock_getres(CLOCK_MONOTONIC, &resolution), 0);
  CHECK_EQ(ns(resolution), 1);
  CHECK_EQ(clock_getres(CLOCK_MONOTONIC_COARSE, &resolution), 0);
  CHECK(ns(resolution) >= kMs);
  CHECK_EQ(clock_getres(CLOCK_REALTIME, nullptr), 0);
}
PROPERTY(unknown_clocks_are_refused) {
  timespec time;
  CHECK_ERRNO(clock_gettime(99, &time), EINVAL);
  CHECK_ERRNO(clock_getres(99, &time), EINVAL);
  CHECK_ERRNO(clock_settime(CLOCK_MONOTONIC, &time), EINVAL);
  CHECK_ERRNO(syscall(SYS_clock_gettime, CLOCK_REALTIME, nullptr), EFAULT);
}
PROPERTY(monotonic_time_never_goes_back) {
  int64_t last = 0;
  for (int i = 0; i < 20000; ++i) {
    int64_t time = now();
    CHECK(time >= last);
    last = time;
  }
}
PROPERTY(the_system_call_agrees_with_the_vdso) {
  timespec slow;
  int64_t before = now();
  CHECK_EQ(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &slow), 0);
  CHECK(ns(slow) >= before);
  CHECK(now() >= ns(slow));
}
PROPERTY(sleep_takes_at_least_as_long) {
  int64_t start = now();
  timespec wanted = spec(20 * kMs);
  CHECK_EQ(nanosleep(&wanted, nullptr), 0);
  CHECK(now() - start >= 20 * kMs);
}
PROPERTY(sleep_is_checked) {
  timespec bad{0, 1000000000}, negative{-1, 0};
  CHECK_ERRNO(nanosleep(&bad, nullptr), EINVAL);
  CHECK_ERRNO(nanosleep(&negative, nullptr), EINVAL);
  CHECK_EQ(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &bad, nullptr), EINVAL);
  CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, nullptr, nullptr), EFAULT);
}
PROPERTY(absolute_sleep_ends_at_its_time) {
  int64_t wanted = now() + 20 * kMs;
  timespec until = spec(wanted);
  CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr), 0);
  CHECK(now() >= wanted);
  until = spec(now(CLOCK_REALTIME) + 10 * kMs);
  CHECK_EQ(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, nullptr), 0);
  until = spec(1);
  CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr), 0);
}
PROPERTY(a_signal_ends_a_sleep_and_tells_what_is_left) {
  handle(SIGALRM, SA_RESTART);
  itimerval timer{{0, 0}, {0, 20000}};
  CHECK_EQ(setitimer(ITIMER_REAL, &timer, nullptr), 0);
  timespec wanted = spec(5000 * kMs), left{};
  CHECK_ERRNO(nanosleep(&wanted, &left), EINTR);
  CHECK_EQ((int)signals, 1);
  CHECK(ns(left) > 3000 * kMs && ns(left) < 4990 * kMs);
}
PROPERTY(interval_timers_repeat_and_stop) {
  handle(SIGALRM);
  itimerval timer{{0, 5000}, {0, 5000}}, old;
  CHECK_EQ(setitimer(ITIMER_REAL, &timer, nullptr), 0);
  while (signals < 3) pause();
  timer = {};
  CHECK_EQ(setitimer(ITIMER_REAL, &timer, &old), 0);
  CHECK_EQ(old.it_interval.tv_usec, 5000);
  CHECK_EQ(getitimer(ITIMER_REAL, &old), 0);
  CHECK_EQ(old.it_value.tv_sec, 0);
  CHECK_EQ(old.it_value.tv_usec, 0);
}
PROPERTY(interval_timers_are_checked) {
  itimerval timer{{0, 1000000}, {0, 0}};
  CHECK_ERRNO(setitimer(ITIMER_REAL, &timer, nullptr), EINVAL);
  timer = {};
  CHECK_ERRNO(setitimer((__itimer_which)7, &timer, nullptr), EINVAL);
  CHECK_ERRNO(getitimer((__itimer_which)7, &timer), EINVAL);
}
PROPERTY(an_alarm_replaces_an_alarm) {
  handle(SIGALRM);
  CHECK_EQ(alarm(100), 0u);
  CHECK_EQ(alarm(50), 100u);
  CHECK_EQ(alarm(0), 50u);
  CHECK_EQ((int)signals, 0);
}
PROPERTY(posix_timers_send_their_value) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  PosixTimer timer(SIGEV_SIGNAL);
  CHECK(timer.made);
  CHECK_EQ(timer.set(5 * kMs), 0);
  siginfo_t info{};
  CHECK_EQ(sigwaitinfo(&set, &info), SIGUSR1);
  CHECK_EQ(info.si_code, SI_TIMER);
  CHECK_EQ(info.si_value.sival_int, 1234);
  CHECK_EQ(info.si_overrun, 0);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}
PROPERTY(posix_timers_count_overruns) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  PosixTimer timer(SIGEV_SIGNAL);
  CHECK_EQ(timer.set(2 * kMs, 2 * kMs), 0);
  usleep(50000);
  siginfo_t info{};
  CHECK_EQ(sigwaitinfo(&set, &info), SIGUSR1);
  CHECK(info.si_overrun >= 5);
  CHECK(timer_getoverrun(timer.id) >= 5);
  CHECK_EQ(timer.set(0), 0);
  timespec none{};
  sigtimedwait(&set, &info, &none);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}
PROPERTY(posix_timers_signal_one_thread) {
  static volatile pid_t receiver;
  receiver = 0;
  struct sigaction action{};
  action.sa_handler = [](int) { receiver = gettid(); };
  sigaction(SIGUSR2, &action, nullptr);
  pid_t wanted = 0;
  std::thread thread([&] {
    wanted = gettid();
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGUSR2;
    event._sigev_un._tid = wanted;
    timer_t id;
    if (timer_create(CLOCK_MONOTONIC, &event, &id) != 0) return;
    itimerspec setting{{}, spec(5 * kMs)};
    timer_settime(id, 0, &setting, nullptr);
    for (int i = 0; i < 500 && receiver == 0; ++i) usleep(10000);
    timer_delete(id);
  });
  thread.join();
  CHECK(wanted != 0);
  CHECK_EQ((pid_t)receiver, wanted);
}
PROPERTY(posix_timers_without_signals_are_read) {
  PosixTimer timer(SIGEV_NONE);
  CHECK_EQ(timer.set(60000 * kMs), 0);
  itimerspec setting;
  CHECK_EQ(timer_gettime(timer.id, &setting), 0);
  CHECK(ns(setting.it_value) > 50000 * kMs);
}
PROPERTY(posix_timers_take_absolute_times) {
  handle(SIGUSR1);
  PosixTimer timer(SIGEV_SIGNAL, SIGUSR1, CLOCK_REALTIME);
  CHECK_EQ(timer.set(now(CLOCK_REALTIME) + 10 * kMs, 0, TIMER_ABSTIME), 0);
  for (int i = 0; i < 500 && signals == 0; ++i) usleep(10000);
  CHECK_EQ((int)signals, 1);
}
PROPERTY(a_timers_number_goes_to_memory_that_is_not_there_yet) {
  auto* fresh =
      (timer_t*)mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK_EQ(syscall(SYS_timer_create, CLOCK_MONOTONIC, nullptr, fresh), 0);
  CHECK_EQ(syscall(SYS_timer_delete, *(int*)fresh), 0);
  munmap(fresh, 4096);
  CHECK_ERRNO(syscall(SYS_timer_create, CLOCK_MONOTONIC, nullptr, fresh), EFAULT);
}
PROPERTY(posix_timers_are_checked) {
  timer_t id;
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = 99;
  CHECK_ERRNO(timer_create(CLOCK_MONOTONIC, &event, &id), EINVAL);
  event.sigev_signo = SIGUSR1;
  CHECK_ERRNO(timer_create(99, &event, &id), EINVAL);
  PosixTimer timer(SIGEV_NONE);
  itimerspec bad{{}, {0, -1}};
  CHECK_ERRNO(timer_settime(timer.id, 0, &bad, nullptr), EINVAL);
  CHECK_ERRNO(syscall(SYS_timer_delete, 4000), EINVAL);
  CHECK_ERRNO(syscall(SYS_timer_gettime, 4000, &bad), EINVAL);
}
PROPERTY(timers_on_cpu_time) {
  handle(SIGUSR1);
  PosixTimer timer(SIGEV_SIGNAL, SIGUSR1, CLOCK_PROCESS_CPUTIME_ID);
  CHECK_EQ(timer.set(20 * kMs), 0);
  usleep(60000);
  CHECK_EQ((int)signals, 0);
  int64_t start = now();
  while (signals == 0 && now() - start < 10000 * kMs) {}
  CHECK_EQ((int)signals, 1);
}
PROPERTY(timerfd_counts_expirations) {
  int fd = timerfd_create(CLOCK_MONOTONIC, 0);
  itimerspec setting{spec(5 * kMs), spec(5 * kMs)};
  CHECK_EQ(timerfd_settime(fd, 0, &setting, nullptr), 0);
  usleep(40000);
  uint64_t ticks = 0;
  CHECK_EQ(read(fd, &ticks, 8), 8);
  CHECK(ticks >= 4);
  CHECK_ERRNO(read(fd, &ticks, 7), EINVAL);
  itimerspec left;
  CHECK_EQ(timerfd_gettime(fd, &left), 0);
  CHECK_EQ(ns(left.it_interval), 5 * kMs);
  close(fd);
}
PROPERTY(timerfd_is_polled_and_disarmed) {
  int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  uint64_t ticks;
  CHECK_ERRNO(read(fd, &ticks, 8), EAGAIN);
  itimerspec setting{{}, spec(10 * kMs)};
  CHECK_EQ(timerfd_settime(fd, 0, &setting, nullptr), 0);
  pollfd poller{fd, POLLIN, 0};
  CHECK_EQ(poll(&poller, 1, 5000), 1);
  CHECK_EQ(read(fd, &ticks, 8), 8);
  CHECK_EQ(ticks, 1u);
  setting = {};
  CHECK_EQ(timerfd_settime(fd, 0, &setting, nullptr), 0);
  CHECK_EQ(poll(&poller, 1, 20), 0);
  close(fd);
}
PROPERTY(timerfd_takes_absolute_times_in_the_past) {
  int fd = timerfd_create(CLOCK_MONOTONIC, 0);
  itimerspec setting{{}, spec(1)};
  CHECK_EQ(timerfd_settime(fd, TFD_TIMER_ABSTIME, &setting, nullptr), 0);
  uint64_t ticks = 0;
  CHECK_EQ(read(fd, &ticks, 8), 8);
  CHECK_EQ(ticks, 1u);
  close(fd);
}
PROPERTY(timerfd_is_checked) {
  CHECK_ERRNO(timerfd_create(99, 0), EINVAL);
  CHECK_ERRNO(timerfd_create(CLOCK_MONOTONIC, 1), EINVAL);
  itimerspec setting{{}, spec(1)};
  CHECK_ERRNO(timerfd_settime(0, 0, &setting, nullptr), EINVAL);
  CHECK_ERRNO(timerfd_settime(999, 0, &setting, nullptr), EBADF);
  int fd = timerfd_create(CLOCK_MONOTONIC, 0);
  CHECK_ERRNO(timerfd_settime(fd, 64, &setting, nullptr), EINVAL);
  setting.it_value.tv_nsec = 1000000000;
  CHECK_ERRNO(timerfd_settime(fd, 0, &setting, nullptr), EINVAL);
  CHECK_ERRNO(write(fd, "12345678", 8), EINVAL);
  close(fd);
}
PROPERTY(adjtimex_reads) {
  timex settings{};
  CHECK(adjtimex(&settings) >= 0);
  CHECK_EQ(settings.tick, 10000);
  CHECK(settings.time.tv_sec > 1000000000);
}
PROPERTY(poll_times_out_in_time) {
  int64_t start = now();
  CHECK_EQ(poll(nullptr, 0, 20), 0);
  CHECK(now() - start >= 20 * kMs);
  timespec time = spec(10 * kMs);
  CHECK_EQ(ppoll(nullptr, 0, &time, nullptr), 0);
  timeval value{0, 10000};
  CHECK_EQ(select(0, nullptr, nullptr, nullptr, &value), 0);
  CHECK_EQ(value.tv_usec, 0);
}
