#include <algorithm>
#include <array>
#include <limits>

#include "kernel/log/log.hpp"
#include "kernel/memory/page_allocator.hpp"
#include "kernel/sched/thread.hpp"
#include "page_cache_state.hpp"

namespace aril {
namespace {

constexpr Duration kInterval = Duration::seconds(5);
/// Pages that go out in one request.
constexpr unsigned kMaxWriteOut = 64;
constexpr uint64_t kAllPages = std::numeric_limits<int64_t>::max() / kPageSize + 1;

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

Mutex& PageCache::write_back_mutex() { return implementation_->write_back_mutex; }

Result<void> PageCache::write_back() {
  if (!implementation_->is_written_back()) return {};
  ARIL_TRY(write_dirty());
  return implementation_->backing->make_durable();
}

Result<void> PageCache::write_dirty() {
  Implementation& state = *implementation_;
  if (!state.is_written_back()) return {};
  Result<void> result;
  {
    LockGuard writing(state.write_back_mutex);
    for (uint64_t next = 0;;) {
      std::array<PageRef, kMaxWriteOut> pages;
      size_t count = 0;
      uint64_t first = 0, size;
      {
        LockGuard hold(state.mutex);
        size = state.size;
        if (state.tree.next_dirty(next, first) == nullptr) break;
        for (uint64_t index = first; count < kMaxWriteOut; ++index) {
          PageTree::Slot* slot = state.tree.find(index);
          if (slot == nullptr || !slot->is_dirty()) break;
          pages[count++] = PageRef::share(slot->page());
          state.mark_clean_locked(index);
        }
      }
      next = first + count;
      // A store from here on faults, and marks the page dirty again.
      if (is_mapped()) write_protect_everywhere(first, count);
      Result<void> written = state.backing->write_pages(first, std::span(pages).first(count), size);
      if (written) continue;
      result = written;
      LockGuard hold(state.mutex);
      for (uint64_t index = first; index < next; ++index) {
        if (state.tree.find(index) != nullptr) state.mark_dirty_locked(index);
      }
    }
  }
  DirtyCaches::remove_if_clean(*this);
  return result;
}

void PageCache::discard() {
  Implementation& state = *implementation_;
  // Whatever mutex the caller holds: pages that are being written now are just written.
  if (state.is_written_back() && state.write_back_mutex.try_lock()) {
    drop_pages(0, kAllPages);
    state.write_back_mutex.unlock();
  }
  DirtyCaches::remove_if_clean(*this);
}

std::optional<Instant> PageCache::take_store_time() {
  int64_t ns = implementation_->store_time.exchange(0, std::memory_order_relaxed);
  return ns != 0 ? std::optional(Instant{ns}) : std::nullopt;
}

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
