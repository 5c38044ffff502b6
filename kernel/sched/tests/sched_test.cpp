#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <random>

#include "arch/host.hpp"
#include "arch/page_table.hpp"
#include "arch/upcalls.hpp"
#include "base/pairing_heap.hpp"
#include "base/units.hpp"
#include "kernel/memory/page_allocator.hpp"
#include "kernel/sched/mutex.hpp"
#include "kernel/sched/scheduler.hpp"
#include "kernel/sched/timer.hpp"
#include "kernel/sched/wait_queue.hpp"

namespace aril {
namespace {

struct Numbered {
  int key = 0;
  PairingHeapNode<Numbered> node;
};
struct Smaller {
  bool operator()(const Numbered& a, const Numbered& b) const { return a.key < b.key; }
};

TEST(PairingHeap, PopsInOrderAfterRandomInsertsAndRemoves) {
  std::mt19937 random(7);
  std::vector<std::unique_ptr<Numbered>> items;
  PairingHeap<Numbered, &Numbered::node, Smaller> heap;
  std::multiset<int> model;
  for (int i = 0; i < 500; ++i) {
    items.push_back(std::make_unique<Numbered>());
    items.back()->key = static_cast<int>(random() % 100);
    heap.insert(*items.back());
    model.insert(items.back()->key);
  }
  for (int i = 0; i < 200; ++i) {
    Numbered& item = *items[static_cast<size_t>(i) * 2];
    heap.remove(item);
    model.erase(model.find(item.key));
    if (i % 3 == 0) {
      item.key = static_cast<int>(random() % 100);
      heap.insert(item);
      model.insert(item.key);
    }
  }
  for (int expected : model) EXPECT_EQ(heap.pop()->key, expected);
  EXPECT_TRUE(heap.empty());
}

struct TimerTest : testing::Test {
  void SetUp() override { arch::host_set_time(Instant{1000}); }
};

TEST_F(TimerTest, FiresAtItsDeadlineNotBefore) {
  int fired = 0;
  Timer timer([](void* count) { ++*static_cast<int*>(count); }, &fired);
  timer.arm(Instant{2000});
  EXPECT_EQ(arch::host_timer_deadline(), Instant{2000});
  arch::aril_on_timer_interrupt();
  EXPECT_EQ(fired, 0);
  arch::host_set_time(Instant{2000});
  arch::aril_on_timer_interrupt();
  EXPECT_EQ(fired, 1);
  EXPECT_FALSE(timer.is_armed());
  EXPECT_EQ(arch::host_timer_deadline(), Instant::never());
}

TEST_F(TimerTest, CancelAndRearmKeepTheHardwareAtTheEarliest) {
  int fired = 0;
  auto count = [](void* counter) { ++*static_cast<int*>(counter); };
  Timer early(count, &fired), late(count, &fired);
  late.arm(Instant{5000});
  early.arm(Instant{3000});
  EXPECT_EQ(arch::host_timer_deadline(), Instant{3000});
  early.cancel();
  arch::host_set_time(Instant{3000});
  arch::aril_on_timer_interrupt();
  EXPECT_EQ(fired, 0);
  EXPECT_EQ(arch::host_timer_deadline(), Instant{5000});
  late.arm(Instant{2500});
  arch::aril_on_timer_interrupt();
  EXPECT_EQ(fired, 1);
}

TEST_F(TimerTest, MayRearmItselfFromItsCallback) {
  struct Periodic {
    int fired = 0;
    Timer timer;
  } periodic;
  periodic.timer.set_callback(
      [](void* argument) {
        auto* self = static_cast<Periodic*>(argument);
        if (++self->fired < 3) self->timer.arm(now() + Duration::nanoseconds(10));
      },
      &periodic);
  periodic.timer.arm(Instant{1010});
  for (int i = 1; i <= 5; ++i) {
    arch::host_set_time(Instant{1000 + i * 10});
    arch::aril_on_timer_interrupt();
  }
  EXPECT_EQ(periodic.fired, 3);
}

struct Recorder : WaitEntry {
  Recorder()
      : WaitEntry([](WaitEntry& entry, uint32_t events) {
          auto& self = static_cast<Recorder&>(entry);
          self.events |= events;
          ++self.calls;
          return self.consumes;
        }) {}
  uint32_t events = 0;
  int calls = 0;
  bool consumes = true;
};

TEST(WaitQueue, WakeCountsOnlyEntriesThatConsume) {
  WaitQueue queue;
  Recorder first, second, third;
  first.consumes = false;
  queue.add(first);
  queue.add(second);
  queue.add(third);
  queue.wake(1, 4);
  EXPECT_EQ(first.calls, 1);
  EXPECT_EQ(second.calls, 1);
  EXPECT_EQ(third.calls, 0);
  EXPECT_EQ(second.events, 4u);
  queue.remove(second);
  queue.remove(second);
  queue.wake_all();
  EXPECT_EQ(second.calls, 1);
  EXPECT_EQ(third.calls, 1);
  queue.remove(first);
  queue.remove(third);
  EXPECT_TRUE(queue.empty());
}

TEST(Mutex, IsHeldBetweenLockAndUnlock) {
  Mutex mutex(LockRank::kInode);
  {
    LockGuard guard(mutex);
    EXPECT_TRUE(mutex.held_by_this_thread());
    EXPECT_FALSE(mutex.try_lock());
  }
  EXPECT_FALSE(mutex.held_by_this_thread());
  EXPECT_TRUE(mutex.try_lock());
  mutex.unlock();
}

/// In a process of its own: takes mutexes of these ranks on a thread, one after the other, and
/// releases them.
void take_in_order(std::initializer_list<LockRank> ranks) {
  const PhysicalRange usable[] = {{1 * kMiB, 64 * kMiB}};
  page_allocator::initialize(usable, {});
  arch::PageTable::set_kernel_root(arch::allocate_table_page().value());
  Scheduler::start_boot_cpu();
  for (int round = 0; round < 2; ++round) {
    std::vector<std::unique_ptr<Mutex>> taken;
    for (LockRank rank : ranks) {
      taken.push_back(std::make_unique<Mutex>(rank));
      taken.back()->lock();
      if (!taken.back()->held_by_this_thread()) std::exit(1);
    }
    for (auto& mutex : taken) mutex->unlock();
  }
  std::exit(0);
}

TEST(MutexOrder, RanksMustAscend) {
  using enum LockRank;
  EXPECT_EXIT(take_in_order({kProcess, kSocket, kNetStack, kPageCache, kMutexLeaf}),
              testing::ExitedWithCode(0), "");
  EXPECT_DEATH(take_in_order({kNetStack, kSocket}),
               "a mutex of rank 30 is taken while one of rank 35 is held");
  EXPECT_DEATH(take_in_order({kMutexLeaf, kProcess}),
               "a mutex of rank 10 is taken while one of rank 63 is held");
  EXPECT_DEATH(take_in_order({kSocket, kSocket}),
               "a mutex of rank 30 is taken while one of rank 30 is held");
}

}  // namespace
}  // namespace aril
