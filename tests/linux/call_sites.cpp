// System-call instructions that several CPUs reach at the same time, while the kernel may be
// rewriting them into calls.
// configurations: q35,2
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <thread>

#include "check.hpp"

namespace {

constexpr int kSites = 3'000, kCalls = 4, kMoments = 100, kStep = 500;
constexpr size_t kSiteSize = 16;
using Site = long (*)();

/// kSites functions, each of which is `mov $SYS_getpid, %eax; syscall; ret`.
uint8_t* make_sites() {
  const size_t size = kSites * kSiteSize;
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  auto* code = static_cast<uint8_t*>(memory);
  constexpr uint8_t kFunction[] = {0xb8, SYS_getpid, 0, 0, 0, 0x0f, 0x05, 0xc3};
  for (int site = 0; site < kSites; ++site)
    std::memcpy(code + static_cast<size_t>(site) * kSiteSize, kFunction, sizeof kFunction);
  return mprotect(memory, size, PROT_READ | PROT_EXEC) == 0 ? code : nullptr;
}

}  // namespace

PROPERTY(a_site_that_becomes_a_call_holds_nobody_up) {
  uint8_t* code = make_sites();
  CHECK(code != nullptr);
  const long pid = getpid();
  std::atomic<int> arrived{0}, wrong{0};
  auto run = [&](unsigned cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu % std::thread::hardware_concurrency(), &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    for (int site = 0; site < kSites; ++site) {
      auto call = reinterpret_cast<Site>(code + static_cast<size_t>(site) * kSiteSize);
      ++arrived;
      for (int i = 1; arrived.load() < 2 * (site + 1); ++i)
        if (i % 100 == 0) sched_yield();
      // One calls until the site is rewritten; the other comes at any moment of that.
      if (cpu == 1)
        for (int i = site % kMoments * kStep; i != 0; --i) asm volatile("");
      for (int i = cpu == 1 ? 1 : kCalls; i != 0; --i) wrong += call() != pid;
    }
  };
  std::thread other(run, 1);
  run(0);
  other.join();
  CHECK_EQ(wrong.load(), 0);
}
