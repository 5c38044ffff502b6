#include <algorithm>

#include "kernel/log/log.hpp"
#include "kernel/memory/page_allocator.hpp"
#include "kernel/sched/thread.hpp"
#include "page_cache_state.hpp"

namespace aril {
namespace {

constexpr Duration kInterval = Duration::seconds(5);

struct Task {
  void (*function)(void*) = nullptr;
  void* context = nullptr;
};
constinit SpinLock tasks_lock{LockRank::kSpinLeaf};
constinit Task tasks[16];

// [sysctl vm] Linux's defaults: in the background from 10 % on, writers wait from 20 % on. Set
// once, before anyone asks.
constinit std::atomic<uint64_t> limit_of_background{~uint64_t{0}}, limit_of_writers{~uint64_t{0}};
uint64_t background_limit() { return limit_of_background.load(std::memory_order_relaxed); }
uint64_t hard_limit() { return limit_of_writers.load(std::memory_order_relaxed); }

void run_tasks() {
  for (size_t i = 0; i < std::size(tasks); ++i) {
    Task task;
    {
      LockGuard hold(tasks_lock);
      task = tasks[i];
    }
    if (task.function != nullptr) task.function(task.context);
  }
}

}  // namespace

DirtyCaches::List& DirtyCaches::list() {
  // Never destroyed: caches are in it to the end of the machine.
  [[clang::no_destroy]] static constinit List caches;
  return caches;
}

void DirtyCaches::add(PageCache::Implementation& cache) {
  LockGuard hold(lock);
  if (cache.dirty_node.is_linked()) return;
  cache.cache.add_ref();
  list().push_back(cache);
}

void DirtyCaches::remove_if_clean(PageCache& cache) {
  RefPtr<PageCache> drop;
  PageCache::Implementation& state = *cache.implementation_;
  LockGuard guard(state.mutex);
  if (state.dirty_pages != 0) return;
  LockGuard hold(lock);
  if (!state.dirty_node.is_linked()) return;
  list().remove(state);
  // The caller holds a reference of its own, so that this one is never the last.
  ARIL_ASSERT(!cache.drop_ref());
}

/// The cache that has waited longest; it goes to the end of the list.
RefPtr<PageCache> DirtyCaches::next() {
  LockGuard hold(lock);
  PageCache::Implementation* first = list().front();
  if (first == nullptr) return {};
  list().remove(*first);
  list().push_back(*first);
  return RefPtr<PageCache>(&first->cache);
}

void DirtyCaches::write_all() {
  size_t count;
  {
    LockGuard hold(lock);
    count = list().count();
  }
  for (; count > 0; --count) {
    RefPtr<PageCache> cache = next();
    if (!cache) return;
    if (Result<void> written = cache->write_dirty(); !written)
      ARIL_LOG_ERROR("page cache", "%s: pages cannot be written: error %d", cache->name(),
                     static_cast<int>(written.error()));
    rounds.fetch_add(1, std::memory_order_relaxed);
    progress.wake_all();
  }
}

void DirtyCaches::run() {
  for (;;) {
    auto has_work = [] {
      return wanted.exchange(false) || total.load(std::memory_order_relaxed) > background_limit();
    };
    (void)wake_up.wait_until(has_work, now() + kInterval, Interruptible::kNo);
    write_all();
    run_tasks();
    // What cannot be written must not keep this thread busy.
    if (total.load(std::memory_order_relaxed) > background_limit())
      (void)Thread::sleep_until(now() + Duration::milliseconds(20), Interruptible::kNo);
  }
}

void DirtyCaches::throttle() {
  uint64_t dirty = total.load(std::memory_order_relaxed);
  if (dirty <= background_limit() || !is_running.load(std::memory_order_relaxed)) return;
  wake_up.wake_all();
  if (dirty <= hard_limit() || &Thread::current() == thread) return;
  // Bounded: pages that cannot be written must not stop the program for ever.
  (void)progress.wait_until([] { return total.load(std::memory_order_relaxed) <= hard_limit(); },
                            now() + Duration::seconds(1), Interruptible::kNo);
}

bool DirtyCaches::wait_for_clean() {
  if (!is_running.load(std::memory_order_relaxed) || !arch::interrupts_enabled()) return false;
  uint64_t before = rounds.load(std::memory_order_relaxed);
  if (total.load(std::memory_order_relaxed) == 0 || &Thread::current() == thread) return false;
  wanted.store(true);
  wake_up.wake_all();
  return progress
      .wait_until([before] { return rounds.load(std::memory_order_relaxed) != before; },
                  now() + Duration::seconds(2), Interruptible::kNo)
      .has_value();
}

namespace page_write_back {

Result<void> start() {
  if (DirtyCaches::is_running.exchange(true)) return {};
  RefPtr<Thread> thread = ARIL_TRY(Thread::create(
      "write-back", Thread::Kind::kKernel, [](void*) { DirtyCaches::run(); }, nullptr));
  DirtyCaches::set_thread(thread.get());
  limit_of_background = page_allocator::statistics().total_pages / 10;
  limit_of_writers = page_allocator::statistics().total_pages / 5;
  thread->start();
  return {};
}

void add_task(void (*function)(void* context), void* context) {
  LockGuard hold(tasks_lock);
  for (Task& task : tasks) {
    if (task.function != nullptr) continue;
    task = {function, context};
    return;
  }
}

void write_all() { DirtyCaches::write_all(); }

uint64_t dirty_pages() { return DirtyCaches::total.load(std::memory_order_relaxed); }

}  // namespace page_write_back
}  // namespace aril
