#include "kernel/memory/page_allocator.hpp"
#include "page_cache_state.hpp"

namespace aril {

void PageCacheShrinker::add(PageCache::Implementation& cache) {
  LockGuard hold(lock);
  if (!is_registered) page_allocator::add_shrinker(shrink);
  is_registered = true;
  if (cursor == nullptr) {
    cursor = cache.next_cache = cache.previous_cache = &cache;
  } else {
    // Just behind the cursor: the last to be looked at.
    cache.next_cache = cursor;
    cache.previous_cache = cursor->previous_cache;
    cursor->previous_cache->next_cache = &cache;
    cursor->previous_cache = &cache;
  }
  ++count;
}

void PageCacheShrinker::remove(PageCache::Implementation& cache) {
  LockGuard hold(lock);
  if (cache.next_cache == nullptr) return;
  if (cursor == &cache) cursor = cache.next_cache != &cache ? cache.next_cache : nullptr;
  cache.next_cache->previous_cache = cache.previous_cache;
  cache.previous_cache->next_cache = cache.next_cache;
  --count;
}

/// The next cache of the ring, kept alive; null when it is at its end already.
RefPtr<PageCache> PageCacheShrinker::next_cache() {
  LockGuard hold(lock);
  if (cursor == nullptr) return {};
  PageCache& cache = cursor->cache;
  cursor = cursor->next_cache;
  return cache.try_add_ref() ? RefPtr<PageCache>::adopt(&cache) : RefPtr<PageCache>();
}

size_t PageCacheShrinker::shrink(size_t pages) {
  size_t freed = 0;
  // First what nobody maps, then what comes back with a fault.
  for (Mapped mapped : {Mapped::kKeep, Mapped::kUnmap}) {
    size_t caches;
    {
      LockGuard hold(lock);
      caches = count;
    }
    for (size_t i = 0; i < caches && freed < pages; ++i) {
      if (RefPtr<PageCache> cache = next_cache())
        freed += shrink_cache(*cache, pages - freed, mapped);
    }
  }
  return freed;
}

size_t PageCacheShrinker::shrink_cache(PageCache& cache, size_t pages, Mapped mapped) {
  PageCache::Implementation& state = *cache.implementation_;
  if (!state.mutex.try_lock()) return 0;
  size_t freed = 0;
  uint64_t index = 0;
  for (PageTree::Slot* slot = state.tree.next(0, index); slot != nullptr && freed < pages;
       slot = state.tree.next(index + 1, index)) {
    if (slot->is_dirty()) continue;
    Page* page = slot->page();
    if (mapped == Mapped::kUnmap && page->map_count.load(std::memory_order_relaxed) != 0)
      cache.try_unmap_everywhere(index, 1);
    // Acquire: whoever let go the page is done with it.
    if (page->references.load(std::memory_order_acquire) != 1) continue;
    state.tree.take(index).reset();
    ++freed;
  }
  state.mutex.unlock();
  return freed;
}

}  // namespace aril
