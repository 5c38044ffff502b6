#pragma once
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

  PageCache& cache;
  PageBacking* const backing;
  /// Guards all below.
  Mutex mutex{LockRank::kPageCache};
  PageTree tree;
  uint64_t size;
  /// Counts removals of pages: a read that one overtook is not entered.
  uint64_t removals = 0;
  ReadInFlight* reads = nullptr;
  WaitQueue read_done;

  // PageCacheShrinker's ring.
  Implementation* next_cache = nullptr;
  Implementation* previous_cache = nullptr;
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
