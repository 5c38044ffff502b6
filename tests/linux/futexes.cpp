// Futexes across processes: robust and priority-inheriting locks, waiting for several words.
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "check.hpp"
#include "children.hpp"

namespace {

template <typename T>
T* shared() {
  void* memory =
      mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return new (memory) T();
}

struct WaitvEntry {
  uint64_t value, address;
  uint32_t flags, reserved;
};

constexpr uint32_t kSize32 = 2;

WaitvEntry entry_of(std::atomic<uint32_t>& word, uint32_t value, uint32_t flags = kSize32) {
  return {value, reinterpret_cast<uint64_t>(&word), flags, 0};
}

long waitv(WaitvEntry* entries, unsigned count, unsigned flags = 0, timespec* timeout = nullptr,
           int clock = CLOCK_MONOTONIC) {
  return syscall(449, entries, count, flags, timeout, clock);
}

timespec in_milliseconds(int milliseconds) {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  time.tv_nsec += milliseconds * 1000000L;
  time.tv_sec += time.tv_nsec / 1000000000;
  time.tv_nsec %= 1000000000;
  return time;
}

struct Locks {
  pthread_mutex_t mutex;
  std::atomic<int> step{0};
};

Locks* make_lock(int robustness, int protocol) {
  auto* locks = shared<Locks>();
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, robustness);
  pthread_mutexattr_setprotocol(&attributes, protocol);
  pthread_mutex_init(&locks->mutex, &attributes);
  return locks;
}

/// A child takes the lock and dies; the parent's pthread_mutex_lock.
int lock_after_death(Locks* locks, bool by_signal) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    pthread_mutex_lock(&locks->mutex);
    locks->step = 1;
    usleep(30000);
    if (by_signal) kill(getpid(), SIGKILL);
    _exit(0);
  }
  while (locks->step != 1) usleep(1000);
  int result = pthread_mutex_lock(&locks->mutex);
  waitpid(pid, nullptr, 0);
  return result;
}

}  // namespace

PROPERTY(a_robust_lock_tells_of_its_owners_death) {
  for (bool by_signal : {false, true}) {
    Locks* locks = make_lock(PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_NONE);
    CHECK_EQ(lock_after_death(locks, by_signal), EOWNERDEAD);
    CHECK_EQ(pthread_mutex_consistent(&locks->mutex), 0);
    CHECK_EQ(pthread_mutex_unlock(&locks->mutex), 0);
    CHECK_EQ(pthread_mutex_lock(&locks->mutex), 0);
  }
}
PROPERTY(an_inconsistent_lock_is_lost) {
  Locks* locks = make_lock(PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_NONE);
  CHECK_EQ(lock_after_death(locks, true), EOWNERDEAD);
  CHECK_EQ(pthread_mutex_unlock(&locks->mutex), 0);
  CHECK_EQ(pthread_mutex_lock(&locks->mutex), ENOTRECOVERABLE);
}
PROPERTY(a_robust_inheriting_lock_tells_too) {
  Locks* locks = make_lock(PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_INHERIT);
  CHECK_EQ(lock_after_death(locks, true), EOWNERDEAD);
  CHECK_EQ(pthread_mutex_consistent(&locks->mutex), 0);
  CHECK_EQ(pthread_mutex_unlock(&locks->mutex), 0);
}
PROPERTY(an_inheriting_lock_works_between_processes) {
  Locks* locks = make_lock(PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_INHERIT);
  auto count = [&] {
    for (int i = 0; i < 2000; ++i) {
      pthread_mutex_lock(&locks->mutex);
      locks->step.store(locks->step.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      pthread_mutex_unlock(&locks->mutex);
    }
  };
  pid_t pid = fork();
  if (pid == 0) {
    count();
    _exit(0);
  }
  count();
  waitpid(pid, nullptr, 0);
  CHECK_EQ(locks->step.load(), 4000);
}
PROPERTY(waiting_for_several_words_checks_its_arguments) {
  std::atomic<uint32_t> word{7};
  WaitvEntry entry = entry_of(word, 7);
  CHECK_ERRNO(waitv(&entry, 0), EINVAL);
  CHECK_ERRNO(waitv(&entry, 129), EINVAL);
  CHECK_ERRNO(waitv(&entry, 1, 1), EINVAL);
  CHECK_ERRNO(waitv(nullptr, 1), EINVAL);
  timespec soon = in_milliseconds(10);
  CHECK_ERRNO(waitv(&entry, 1, 0, &soon, CLOCK_PROCESS_CPUTIME_ID), EINVAL);
  WaitvEntry no_size = entry_of(word, 7, 0);
  CHECK_ERRNO(waitv(&no_size, 1), EINVAL);
  WaitvEntry reserved = entry;
  reserved.reserved = 1;
  CHECK_ERRNO(waitv(&reserved, 1), EINVAL);
  WaitvEntry wild = entry;
  wild.address = 0x1000;
  CHECK_ERRNO(waitv(&wild, 1), EFAULT);
  WaitvEntry other = entry_of(word, 8);
  CHECK_ERRNO(waitv(&other, 1), EAGAIN);
}
PROPERTY(waiting_for_several_words_times_out) {
  std::atomic<uint32_t> words[3] = {1, 2, 3};
  WaitvEntry entries[] = {entry_of(words[0], 1), entry_of(words[1], 2), entry_of(words[2], 3)};
  timespec soon = in_milliseconds(20);
  CHECK_ERRNO(waitv(entries, 3, 0, &soon), ETIMEDOUT);
  entries[2].value = 4;
  CHECK_ERRNO(waitv(entries, 3, 0, &soon), EAGAIN);
}
PROPERTY(the_word_that_was_woken_is_told) {
  struct Words {
    std::atomic<uint32_t> words[3] = {1, 2, 3};
  };
  Words& all = *shared<Words>();
  pid_t pid = fork();
  if (pid == 0) {
    // Until somebody is woken.
    while (syscall(SYS_futex, &all.words[1], FUTEX_WAKE, 1, nullptr, nullptr, 0) == 0) usleep(1000);
    _exit(0);
  }
  WaitvEntry entries[] = {entry_of(all.words[0], 1), entry_of(all.words[1], 2),
                          entry_of(all.words[2], 3)};
  CHECK_EQ(waitv(entries, 3), 1);
  waitpid(pid, nullptr, 0);
}
PROPERTY(private_words_wake_threads) {
  std::atomic<uint32_t> words[2] = {0, 0};
  std::thread waker([&] {
    while (syscall(SYS_futex, &words[0], FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0) == 0)
      usleep(1000);
  });
  WaitvEntry entries[] = {entry_of(words[0], 0, kSize32 | FUTEX_PRIVATE_FLAG),
                          entry_of(words[1], 0, kSize32 | FUTEX_PRIVATE_FLAG)};
  long woken = waitv(entries, 2);
  waker.join();
  CHECK_EQ(woken, 0);
}
PROPERTY(advice_reaches_another_process) {
  void* memory = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0)
    for (;;) pause();
  int fd = (int)syscall(SYS_pidfd_open, pid, 0);
  iovec range{memory, 8192};
  constexpr long kProcessMadvise = 440;
  CHECK_EQ(syscall(kProcessMadvise, fd, &range, 1L, MADV_COLD, 0), 8192);
  CHECK_ERRNO(syscall(kProcessMadvise, fd, &range, 1L, MADV_DONTNEED, 0), EINVAL);
  CHECK_ERRNO(syscall(kProcessMadvise, fd, &range, 1L, MADV_COLD, 1), EINVAL);
  CHECK_ERRNO(syscall(kProcessMadvise, 0, &range, 1L, MADV_COLD, 0), EBADF);
  munmap(memory, 4096);
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  CHECK_ERRNO(syscall(kProcessMadvise, fd, &range, 1L, MADV_COLD, 0), ESRCH);
  close(fd);
}
PROPERTY(a_process_shared_mutex_works_across_processes) {
  struct Shared {
    pthread_mutex_t mutex;
    int count;
  };
  auto* shared =
      (Shared*)mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutex_init(&shared->mutex, &attributes);
  auto add = [&] {
    for (int i = 0; i < 2000; ++i) {
      pthread_mutex_lock(&shared->mutex);
      int seen = shared->count;
      if (i % 100 == 0) sched_yield();
      shared->count = seen + 1;
      pthread_mutex_unlock(&shared->mutex);
    }
    return 0;
  };
  pid_t a = start(add), b = start(add);
  add();
  CHECK_EQ(status_of(a), 0);
  CHECK_EQ(status_of(b), 0);
  CHECK_EQ(shared->count, 6000);
  munmap(shared, 4096);
}

PROPERTY(a_robust_mutex_tells_of_its_dead_owner) {
  auto* mutex = (pthread_mutex_t*)mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(mutex, &attributes);
  pid_t pid = start([&] {
    pthread_mutex_lock(mutex);
    return raise(SIGKILL);
  });
  CHECK_EQ(WTERMSIG(status_of(pid)), SIGKILL);
  CHECK_EQ(pthread_mutex_lock(mutex), EOWNERDEAD);
  CHECK_EQ(pthread_mutex_consistent(mutex), 0);
  CHECK_EQ(pthread_mutex_unlock(mutex), 0);
  munmap(mutex, 4096);
}

PROPERTY(a_waiter_gets_a_robust_mutex_when_its_owner_dies) {
  auto* mutex = (pthread_mutex_t*)mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(mutex, &attributes);
  Pipe locked;
  pid_t pid = start([&] {
    pthread_mutex_lock(mutex);
    locked.say();
    usleep(50000);
    return raise(SIGKILL);
  });
  locked.hear();
  CHECK_EQ(pthread_mutex_lock(mutex), EOWNERDEAD);
  CHECK_EQ(WTERMSIG(status_of(pid)), SIGKILL);
  munmap(mutex, 4096);
}

PROPERTY(a_private_futex_does_not_cross_a_fork) {
  static int word;
  word = 0;
  Pipe ready;
  pid_t pid = start([&] {
    ready.say();
    timespec limit = {0, 100000000};
    long result = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &limit, nullptr, 0);
    return result == -1 && errno == ETIMEDOUT ? 0 : 1;
  });
  ready.hear();
  usleep(20000);
  CHECK_EQ(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0), 0);
  CHECK_EQ(status_of(pid), 0);
}
