// A wake-up that meets a thread of another CPU on its way to sleep is not lost: each round starts
// both sides together, and the offset between them sweeps over that way.
// configurations: q35,2
#include <linux/futex.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <ctime>
#include <thread>

#include "check.hpp"

namespace {

constexpr int kRounds = 3'000;

void pin(unsigned cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu % std::thread::hardware_concurrency(), &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

double seconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

/// True when wait(i) has returned for each wake(i). A wait that was missed is woken with rescue().
template <typename Wait, typename Wake, typename Rescue>
bool meet(Wait wait, Wake wake, Rescue rescue) {
  std::atomic<int> started{0}, ended{0};
  std::thread sleeper([&] {
    pin(1);
    for (int round = 1; round <= kRounds; ++round) {
      for (int i = 1; started.load() != round; ++i)
        if (i % 1000 == 0) sched_yield();
      wait(round);
      ended = round;
    }
  });
  pin(0);
  bool all = true;
  for (int round = 1; round <= kRounds; ++round) {
    started = round;
    for (int i = round % 500; i != 0; --i) asm volatile("pause");
    wake(round);
    const double begin = seconds();
    while (ended.load() != round) {
      if (seconds() - begin > 2) {
        all = false;
        rescue(round);
      }
      sched_yield();
    }
  }
  sleeper.join();
  return all;
}

long futex(std::atomic<uint32_t>* word, int operation, uint32_t value) {
  return syscall(SYS_futex, word, operation, value, nullptr, nullptr, 0);
}

}  // namespace

PROPERTY(futexes_lose_no_wake_up) {
  std::atomic<uint32_t> word{0};
  auto wake = [&](int round) {
    word = static_cast<uint32_t>(round);
    futex(&word, FUTEX_WAKE_PRIVATE, 1);
  };
  auto wait = [&](int round) {
    while (word.load() != static_cast<uint32_t>(round))
      futex(&word, FUTEX_WAIT_PRIVATE, static_cast<uint32_t>(round - 1));
  };
  CHECK(meet(wait, wake, wake));
}
PROPERTY(event_counters_lose_no_wake_up) {
  int counter = eventfd(0, 0);
  uint64_t value = 1;
  auto wake = [&](int) { (void)!write(counter, &value, sizeof value); };
  CHECK(meet(
      [&](int) {
        uint64_t got;
        (void)!read(counter, &got, sizeof got);
      },
      wake, wake));
  close(counter);
}
PROPERTY(epoll_loses_no_wake_up) {
  int counter = eventfd(0, EFD_NONBLOCK), set = epoll_create1(0);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  CHECK_EQ(epoll_ctl(set, EPOLL_CTL_ADD, counter, &event), 0);
  uint64_t value = 1;
  auto wake = [&](int) { (void)!write(counter, &value, sizeof value); };
  CHECK(meet(
      [&](int) {
        epoll_event got;
        epoll_wait(set, &got, 1, -1);
      },
      wake, wake));
  close(set);
  close(counter);
}
PROPERTY(datagrams_lose_no_wake_up) {
  int receiver = socket(AF_INET, SOCK_DGRAM, 0), sender = socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  CHECK_EQ(bind(receiver, (sockaddr*)&address, length), 0);
  CHECK_EQ(getsockname(receiver, (sockaddr*)&address, &length), 0);
  CHECK_EQ(connect(sender, (sockaddr*)&address, length), 0);
  auto wake = [&](int) { (void)!send(sender, "x", 1, 0); };
  CHECK(meet(
      [&](int) {
        char got;
        (void)!recv(receiver, &got, 1, 0);
      },
      wake, wake));
  close(sender);
  close(receiver);
}
