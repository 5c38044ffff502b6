#pragma once
#include "base/intrusive_list.hpp"
#include "kernel/sched/mutex.hpp"
#include "kernel/sched/wait_queue.hpp"
#include "kernel/vm/page_cache.hpp"
#include "page_tree.hpp"

namespace aril {

struct PageCache::Implementation {
  /// A read of missing pages that is under way; on the reading thread's stack. Others that need
  /// one of its pages wait for it instead of reading too.
  struct ReadInFlight {
    uint64_t first, count;
    ReadInFlight* next;
  };

  Implementation(PageCache& owner, PageBacking* pages_from, uint64_t bytes)
      : cache(owner), backing(pages_from), size(bytes) {}

  [[nodiscard]] const ReadInFlight* read_covering_locked(uint64_t index) const {
    for (const ReadInFlight* read = reads; read != nullptr; read = read->next) {
      if (index - read->first < read->count) return read;
    }
    return nullptr;
  }
  void end_read_locked(const ReadInFlight& done) {
    for (ReadInFlight** link = &reads; *link != nullptr; link = &(*link)->next) {
      if (*link != &done) continue;
      *link = done.next;
      return;
    }
  }

  /// Marks the page, which is there, dirty (if there is somewhere to write it to). Under the mutex.
  void mark_dirty_locked(uint64_t index);
  void mark_clean_locked(uint64_t index);
  PageRef remove_locked(uint64_t index);
  [[nodiscard]] bool is_written_back() const {
    return backing != nullptr && backing->takes_write_back();
  }

  PageCache& cache;
  PageBacking* const backing;
  RefPtr<PageQuota> quota;  ///< null: RAM is the limit
  /// One write-out at a time. Outside of `mutex`.
  Mutex write_back_mutex{LockRank::kWriteBack};
  /// Guards all below.
  Mutex mutex{LockRank::kPageCache};
  PageTree tree;
  uint64_t size;
  /// Counts removals of pages: a read that one overtook is not entered.
  uint64_t removals = 0;
  ReadInFlight* reads = nullptr;
  WaitQueue read_done;

  uint64_t dirty_pages = 0;
  /// Not yet taken; 0: none. Relaxed: it orders nothing.
  std::atomic<int64_t> store_time{0};

  // DirtyCaches' list, guarded by its lock.
  ListNode dirty_node;

  // PageCacheShrinker's ring.
  Implementation* next_cache = nullptr;
  Implementation* previous_cache = nullptr;
};

/// The caches with dirty pages that are to be written out. Each is kept alive while it is listed.
struct DirtyCaches {
  static void add(PageCache::Implementation& cache);
  /// Takes it off the list if nothing in it is dirty. No lock held: the cache may end.
  static void remove_if_clean(PageCache& cache);
  static void note(int64_t pages) {
    // A statistic that thresholds are compared with: no order with anything.
    total.fetch_add(static_cast<uint64_t>(pages), std::memory_order_relaxed);
  }
  static void write_all();
  /// Waits while there are too many dirty pages.
  static void throttle();
  /// Waits for dirty pages to become clean ones, which can be reclaimed. False when that is of no
  /// use.
  static bool wait_for_clean();
  [[noreturn]] static void run();
  /// Which never waits for itself. It lives for ever.
  static void set_thread(Thread* writer) { thread = writer; }

  static inline constinit std::atomic<uint64_t> total{0};
  static inline constinit std::atomic<bool> is_running{false};

 private:
  using List = IntrusiveList<PageCache::Implementation, &PageCache::Implementation::dirty_node>;
  static List& list();
  static RefPtr<PageCache> next();
  static inline constinit SpinLock lock{LockRank::kSpinLeaf};
  static inline constinit WaitQueue wake_up;
  static inline constinit WaitQueue progress;
  static inline constinit std::atomic<uint64_t> rounds{0};
  static inline constinit std::atomic<bool> wanted{false};
  static inline constinit Thread* thread = nullptr;
};

/// The ring of all caches with a backing, which reclaim goes round.
struct PageCacheShrinker {
  static void add(PageCache::Implementation& cache);
  static void remove(PageCache::Implementation& cache);
  /// A page_allocator::Shrinker.
  static size_t shrink(size_t pages);

 private:
  enum class Mapped : uint8_t { kKeep, kUnmap };
  static RefPtr<PageCache> next_cache();
  static size_t shrink_cache(PageCache& cache, size_t pages, Mapped mapped);

  // Guards the rest and the links of the ring.
  static inline constinit SpinLock lock{LockRank::kSpinLeaf};
  static inline constinit PageCache::Implementation* cursor = nullptr;
  static inline constinit size_t count = 0;
  static inline constinit bool is_registered = false;
};

}  // namespace aril
