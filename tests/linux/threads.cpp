// Threads, futexes, thread-local storage, robust mutexes.
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "check.hpp"

static long futex(std::atomic<uint32_t>* word, int operation, uint32_t value,
                  const timespec* timeout = nullptr, uint32_t* second = nullptr,
                  uint32_t bits = 0) {
  return syscall(SYS_futex, word, operation, value, timeout, second, bits);
}

PROPERTY(threads_run_and_are_joined) {
  int values[8] = {};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([&values, i] { values[i] = i * i; });
  for (auto& thread : threads) thread.join();
  for (int i = 0; i < 8; ++i) CHECK_EQ(values[i], i * i);
}
PROPERTY(threads_share_the_pid_but_not_the_tid) {
  pid_t pid = 0, tid = 0;
  std::thread([&] { pid = getpid(), tid = gettid(); }).join();
  CHECK_EQ(pid, getpid());
  CHECK(tid != gettid());
  CHECK_EQ(gettid(), getpid());
}
PROPERTY(a_mutex_excludes) {
  std::mutex mutex;
  long counter = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 20000; ++n) {
        std::lock_guard guard(mutex);
        ++counter;
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK_EQ(counter, 80000);
}
PROPERTY(condition_variables_pass_a_token) {
  std::mutex mutex;
  std::condition_variable changed;
  int turn = 0;
  auto player = [&](int self) {
    for (int i = 0; i < 500; ++i) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return turn % 2 == self; });
      ++turn;
      changed.notify_all();
    }
  };
  std::thread a(player, 0), b(player, 1);
  a.join();
  b.join();
  CHECK_EQ(turn, 1000);
}
static thread_local int local = 5;
PROPERTY(thread_local_storage_is_private) {
  local = 6;
  int seen = 0;
  std::thread([&] { seen = local++; }).join();
  CHECK_EQ(seen, 5);
  CHECK_EQ(local, 6);
}
PROPERTY(futex_wait_checks_the_value) {
  std::atomic<uint32_t> word{1};
  CHECK_ERRNO(futex(&word, FUTEX_WAIT_PRIVATE, 2), EAGAIN);
  CHECK_ERRNO(futex((std::atomic<uint32_t>*)1, FUTEX_WAIT_PRIVATE, 2), EINVAL);
  CHECK_ERRNO(futex((std::atomic<uint32_t>*)8, FUTEX_WAIT_PRIVATE, 2), EFAULT);
  CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 1), 0);
  CHECK_ERRNO(futex(&word, 99, 0), ENOSYS);
}
PROPERTY(futex_wait_times_out) {
  std::atomic<uint32_t> word{1};
  timespec timeout{0, 10'000'000};
  CHECK_ERRNO(futex(&word, FUTEX_WAIT_PRIVATE, 1, &timeout), ETIMEDOUT);
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  CHECK_ERRNO(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 1, &now, nullptr, ~0u), ETIMEDOUT);
  CHECK_ERRNO(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 1, &now, nullptr, 0), EINVAL);
}
PROPERTY(futex_wake_wakes_so_many) {
  std::atomic<uint32_t> word{0};
  std::atomic<int> awake{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      while (word == 0) futex(&word, FUTEX_WAIT_PRIVATE, 0);
      ++awake;
    });
  usleep(20000);
  word = 1;
  int woken = 0;
  for (int i = 0; i < 100 && woken < 3; ++i) woken += (int)futex(&word, FUTEX_WAKE_PRIVATE, 10);
  for (auto& thread : threads) thread.join();
  CHECK_EQ((int)awake, 3);
}
PROPERTY(futex_requeue_moves_waiters) {
  std::atomic<uint32_t> a{0}, b{0};
  std::atomic<int> awake{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      futex(&a, FUTEX_WAIT_PRIVATE, 0);
      ++awake;
    });
  usleep(50000);
  long moved = syscall(SYS_futex, &a, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void*)10, &b, 0);
  CHECK_EQ(moved, 3);
  while (awake < 1) usleep(1000);
  usleep(10000);
  CHECK_EQ((int)awake, 1);
  CHECK_EQ(futex(&b, FUTEX_WAKE_PRIVATE, 10), 2);
  for (auto& thread : threads) thread.join();
}
PROPERTY(priority_inheritance_mutexes_work) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  CHECK_EQ(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT), 0);
  pthread_mutex_t mutex;
  CHECK_EQ(pthread_mutex_init(&mutex, &attributes), 0);
  int counter = 0;
  auto work = [&] {
    for (int i = 0; i < 2000; ++i) {
      pthread_mutex_lock(&mutex);
      ++counter;
      pthread_mutex_unlock(&mutex);
    }
  };
  std::thread a(work), b(work);
  a.join();
  b.join();
  CHECK_EQ(counter, 4000);
}
PROPERTY(robust_mutexes_tell_of_a_dead_owner) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  static pthread_mutex_t mutex;
  pthread_mutex_init(&mutex, &attributes);
  std::thread([] { pthread_mutex_lock(&mutex); }).join();
  CHECK_EQ(pthread_mutex_lock(&mutex), EOWNERDEAD);
  CHECK_EQ(pthread_mutex_consistent(&mutex), 0);
  CHECK_EQ(pthread_mutex_unlock(&mutex), 0);
}
PROPERTY(semaphores_count) {
  sem_t semaphore;
  sem_init(&semaphore, 0, 0);
  std::thread poster([&] {
    for (int i = 0; i < 100; ++i) sem_post(&semaphore);
  });
  for (int i = 0; i < 100; ++i) CHECK_EQ(sem_wait(&semaphore), 0);
  poster.join();
  CHECK_ERRNO(sem_trywait(&semaphore), EAGAIN);
}
PROPERTY(barriers_meet) {
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, nullptr, 4);
  std::atomic<int> serial{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 50; ++n)
        if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD) ++serial;
    });
  for (auto& thread : threads) thread.join();
  CHECK_EQ((int)serial, 50);
}
PROPERTY(many_threads_come_and_go) {
  std::atomic<int> ran{0};
  for (int round = 0; round < 20; ++round) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 20; ++i) threads.emplace_back([&] { ++ran; });
    for (auto& thread : threads) thread.join();
  }
  CHECK_EQ((int)ran, 400);
}
PROPERTY(vector_state_is_per_thread) {
  std::atomic<bool> good{true};
  auto work = [&](double seed) {
    double value = seed;
    for (int i = 0; i < 300000; ++i) {
      value = value * 0.5 + seed * 0.5;
      if (i % 50000 == 0) sched_yield();
    }
    if (value != seed) good = false;
  };
  std::thread a(work, 3.0), b(work, 7.0), c(work, 11.0);
  a.join();
  b.join();
  c.join();
  CHECK(good.load());
}
PROPERTY(spinning_threads_are_preempted) {
  std::atomic<bool> stop{false};
  std::thread spinner([&] {
    while (!stop.load(std::memory_order_relaxed)) {}
  });
  std::thread second([&] {
    while (!stop.load(std::memory_order_relaxed)) {}
  });
  usleep(30000);
  stop = true;
  spinner.join();
  second.join();
}
PROPERTY(affinity_is_kept) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CHECK_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  CHECK(CPU_COUNT(&set) >= 1);
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  CHECK_EQ(sched_getcpu(), 0);
  CHECK_EQ(sched_setaffinity(0, sizeof set, &set), 0);
  CPU_ZERO(&one);
  CHECK_ERRNO(sched_setaffinity(0, sizeof one, &one), EINVAL);
}
PROPERTY(thread_names_are_kept) {
  CHECK_EQ(pthread_setname_np(pthread_self(), "renamed"), 0);
  char name[16];
  CHECK_EQ(pthread_getname_np(pthread_self(), name, sizeof name), 0);
  CHECK(!strcmp(name, "renamed"));
}
