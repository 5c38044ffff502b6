#include "kernel/vm/page_cache.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <new>

#include "kernel/memory/page_allocator.hpp"
#include "kernel/sched/timer.hpp"
#include "kernel/vm/io_buffer.hpp"
#include "page_cache_state.hpp"

namespace aril {
namespace {

constexpr uint64_t kMaxSize = std::numeric_limits<int64_t>::max();
constexpr unsigned kMaxReadAhead = 32;

constexpr uint64_t pages_for(uint64_t bytes) {
  return bytes / kPageSize + (bytes % kPageSize != 0 ? 1 : 0);
}

Result<PageRef> allocate_page(page_allocator::Fill fill) {
  for (;;) {
    Result<PageRef> page = page_allocator::allocate(fill, page_allocator::Purpose::kApplication);
    if (page || !DirtyCaches::wait_for_clean()) return page;
  }
}

/// Pages taken out of a tree, to be let go when no lock is held.
class PageChain {
 public:
  PageChain() = default;
  PageChain(const PageChain&) = delete;
  PageChain& operator=(const PageChain&) = delete;
  ~PageChain() {
    while (first_ != nullptr) {
      Page* page = first_;
      // The chain's own pointer, kept in the word that belongs to the page's owner.
      first_ = reinterpret_cast<Page*>(page->link);
      PageRef::adopt(page).reset();
    }
  }
  void add(PageRef page) {
    Page* taken = page.leak();
    taken->link = reinterpret_cast<uint64_t>(first_);
    first_ = taken;
  }

 private:
  Page* first_ = nullptr;
};

}  // namespace

PageCache::PageCache(PageBacking* backing, uint64_t size)
    : implementation_(new(std::nothrow) Implementation(*this, backing, size)) {}

PageCache::~PageCache() {
  if (!implementation_) return;
  if (implementation_->backing != nullptr) PageCacheShrinker::remove(*implementation_);
  if (implementation_->quota) implementation_->quota->give_back(implementation_->tree.count());
}

Result<RefPtr<PageCache>> PageCache::create(PageBacking* backing, uint64_t size, const char* name) {
  if (size > kMaxSize) return fail(Errno::kFBig);
  RefPtr<PageCache> cache = ARIL_TRY(try_make_ref<PageCache>(backing, size));
  if (!cache->implementation_) return fail(Errno::kNoMem);
  size_t length = std::strlen(name) + 1;
  cache->name_.reset(new (std::nothrow) char[length]);
  if (!cache->name_) {
    cache->implementation_.reset();
    return fail(Errno::kNoMem);
  }
  std::memcpy(cache->name_.get(), name, length);
  if (backing != nullptr) PageCacheShrinker::add(*cache->implementation_);
  return cache;
}

Result<RefPtr<PageCache>> PageCache::create_counted(RefPtr<PageQuota> quota) {
  RefPtr<PageCache> cache = ARIL_TRY(create(nullptr, 0, ""));
  cache->implementation_->quota = std::move(quota);
  return cache;
}

uint64_t PageCache::size() const {
  LockGuard hold(implementation_->mutex);
  return implementation_->size;
}

uint64_t PageCache::resident_pages() const {
  LockGuard hold(implementation_->mutex);
  return implementation_->tree.count();
}

bool PageCache::tracks_writes() const { return implementation_->backing != nullptr; }

PageRef PageCache::resident_page(uint64_t index) {
  Implementation& state = *implementation_;
  LockGuard hold(state.mutex);
  if (index >= pages_for(state.size)) return {};
  if (PageTree::Slot* slot = state.tree.find(index)) return PageRef::share(slot->page());
  return state.backing != nullptr ? state.backing->in_place(index) : PageRef();
}

Result<PageRef> PageCache::page(uint64_t index, PageAccess access) {
  Implementation& state = *implementation_;
  if (access == PageAccess::kWrite && state.is_written_back()) DirtyCaches::throttle();
  PageRef page = ARIL_TRY(get(index, access, Bound::kSize));
  if (access == PageAccess::kWrite) state.store_time.store(now().ns, std::memory_order_relaxed);
  return page;
}

std::optional<uint64_t> PageCache::next_resident(uint64_t index) const {
  LockGuard hold(implementation_->mutex);
  uint64_t found;
  if (implementation_->tree.next(index, found) == nullptr) return std::nullopt;
  return found;
}

Result<PageRef> PageCache::page_or_hole(uint64_t index) {
  Implementation& state = *implementation_;
  if (state.backing != nullptr) return page(index, PageAccess::kRead);
  LockGuard hold(state.mutex);
  if (index >= pages_for(state.size)) return fail(Errno::kFault);
  if (PageTree::Slot* slot = state.tree.find(index)) return PageRef::share(slot->page());
  return PageRef();
}

Result<PageRef> PageCache::get(uint64_t index, PageAccess access, Bound bound) {
  Implementation& state = *implementation_;
  bool writes = access == PageAccess::kWrite;
  bool is_prepared = !writes || state.backing == nullptr;
  for (;;) {
    uint64_t removals;
    bool is_past_end;
    {
      LockGuard hold(state.mutex);
      is_past_end = index >= pages_for(state.size);
      if (bound == Bound::kSize && is_past_end) return fail(Errno::kFault);
      if (PageTree::Slot* slot = state.tree.find(index)) {
        if (is_prepared || slot->is_dirty()) {
          PageRef page = PageRef::share(slot->page());
          if (writes) state.mark_dirty_locked(index);
          return page;
        }
      }
      removals = state.removals;
    }
    if (!is_prepared) {
      ARIL_TRY(state.backing->prepare_write(index));
      is_prepared = true;
      continue;
    }
    if (state.backing == nullptr || is_past_end) {
      PageRef fresh = ARIL_TRY(allocate_page(page_allocator::Fill::kZero));
      ARIL_TRY(enter(index, std::move(fresh), removals, access));
    } else if (PageRef in_place = state.backing->in_place(index)) {
      if (!writes) return in_place;
      PageRef copy = ARIL_TRY(allocate_page(page_allocator::Fill::kNone));
      std::memcpy(copy->data(), in_place->data(), kPageSize);
      ARIL_TRY(enter(index, std::move(copy), removals, access));
    } else {
      ARIL_TRY(read_missing(index));
    }
    // The page is looked up anew: someone else may have been faster.
  }
}

/// Enters a page whose contents were made without the lock, unless a page is there by now or pages
/// were removed meanwhile.
Result<void> PageCache::enter(uint64_t index, PageRef page, uint64_t removals, PageAccess access) {
  Implementation& state = *implementation_;
  LockGuard hold(state.mutex);
  if (state.removals != removals || state.tree.find(index) != nullptr) return {};
  if (state.quota && !state.quota->take()) return fail(Errno::kNoSpc);
  if (auto inserted = state.tree.insert(index, std::move(page)); !inserted) {
    if (state.quota) state.quota->give_back(1);
    return fail(inserted.error());
  }
  if (access == PageAccess::kWrite) state.mark_dirty_locked(index);
  return {};
}

PageRef PageCache::Implementation::remove_locked(uint64_t index) {
  mark_clean_locked(index);
  if (quota) quota->give_back(1);
  return tree.take(index);
}

void PageCache::Implementation::mark_dirty_locked(uint64_t index) {
  if (backing == nullptr || !tree.set_dirty(index, true)) return;
  if (!backing->takes_write_back()) return;
  DirtyCaches::note(1);
  if (++dirty_pages == 1) DirtyCaches::add(*this);
}

void PageCache::Implementation::mark_clean_locked(uint64_t index) {
  if (!tree.set_dirty(index, false) || !backing->takes_write_back()) return;
  DirtyCaches::note(-1);
  --dirty_pages;
}

/// Reads `index` and what is worth reading ahead; or waits for the thread that already does.
Result<void> PageCache::read_missing(uint64_t index) {
  Implementation& state = *implementation_;
  Implementation::ReadInFlight read{index, 0, nullptr};
  uint64_t removals = 0;
  bool is_ours = false;
  {
    LockGuard hold(state.mutex);
    uint64_t end = pages_for(state.size);
    if (index >= end || state.tree.find(index) != nullptr) return {};
    if (state.read_covering_locked(index) == nullptr) {
      unsigned ahead = std::clamp(state.backing->read_ahead_pages(), 1u, kMaxReadAhead);
      uint64_t limit = std::min(end, index + ahead);
      do {
        ++read.count;
      } while (index + read.count < limit && state.tree.find(index + read.count) == nullptr &&
               state.read_covering_locked(index + read.count) == nullptr);
      read.next = state.reads;
      state.reads = &read;
      removals = state.removals;
      is_ours = true;
    }
  }
  if (!is_ours) {
    return state.read_done.wait_until(
        [&] {
          LockGuard hold(state.mutex);
          return state.read_covering_locked(index) == nullptr;
        },
        Instant::never(), Interruptible::kNo);
  }
  Result<void> result = read_and_enter(index, read.count, removals);
  {
    LockGuard hold(state.mutex);
    state.end_read_locked(read);
  }
  state.read_done.wake_all();
  return result;
}

Result<void> PageCache::read_and_enter(uint64_t first, uint64_t count, uint64_t removals) {
  Implementation& state = *implementation_;
  std::array<PageRef, kMaxReadAhead> pages;
  size_t got = 0;
  while (got < count) {
    Result<PageRef> page = allocate_page(page_allocator::Fill::kNone);
    if (!page) break;
    pages[got++] = std::move(*page);
  }
  if (got == 0) return fail(Errno::kNoMem);
  if (!state.backing->read_pages(first, std::span(pages).first(got))) {
    // A bad sector further on must not fail the page that is wanted.
    got = 1;
    ARIL_TRY(state.backing->read_pages(first, std::span(pages).first(1)));
  }
  LockGuard hold(state.mutex);
  if (state.removals != removals) return {};
  for (size_t i = 0; i < got; ++i) {
    if (state.tree.find(first + i) != nullptr) continue;
    ARIL_TRY(state.tree.insert(first + i, std::move(pages[i])));
  }
  return {};
}

Result<size_t> PageCache::read(IoBuffer& buffer, uint64_t offset) {
  size_t done = 0;
  while (buffer.remaining() != 0) {
    uint64_t end = size();
    if (offset >= end) break;
    size_t in_page = offset % kPageSize;
    size_t count = std::min<uint64_t>({kPageSize - in_page, end - offset, buffer.remaining()});
    Result<PageRef> page = page_or_hole(offset / kPageSize);
    Result<size_t> copied = 0;
    if (!page) {
      // Cut short meanwhile: the end of the file.
      if (page.error() == Errno::kFault && offset >= size()) break;
      copied = fail(page.error() == Errno::kFault ? Errno::kIo : page.error());
    } else if (*page) {
      copied = buffer.copy_out((*page)->bytes().subspan(in_page, count));
    } else {
      copied = buffer.zero_out(count);
    }
    if (!copied) {
      if (done == 0) return copied;
      break;
    }
    done += *copied;
    offset += *copied;
    if (*copied < count) break;
  }
  return done;
}

Result<size_t> PageCache::write(IoBuffer& buffer, uint64_t offset) {
  Implementation& state = *implementation_;
  if (offset > kMaxSize || buffer.remaining() > kMaxSize - offset) return fail(Errno::kFBig);
  size_t done = 0;
  while (buffer.remaining() != 0) {
    size_t in_page = offset % kPageSize;
    size_t count = std::min(kPageSize - in_page, buffer.remaining());
    Result<size_t> copied = 0;
    if (state.is_written_back()) DirtyCaches::throttle();
    if (count == kPageSize && state.backing != nullptr) {
      copied = write_whole_page(buffer, offset / kPageSize);
    } else if (Result<PageRef> page = get(offset / kPageSize, PageAccess::kWrite, Bound::kNone)) {
      copied = buffer.copy_in((*page)->bytes().subspan(in_page, count));
    } else {
      copied = fail(page.error());
    }
    if (!copied) {
      if (done == 0) return copied;
      break;
    }
    done += *copied;
    offset += *copied;
    {
      LockGuard hold(state.mutex);
      if (offset > state.size) grow_locked(offset, offset - *copied);
    }
    if (*copied < count) break;
  }
  return done;
}

/// A page that is overwritten as a whole need not be read before.
Result<size_t> PageCache::write_whole_page(IoBuffer& buffer, uint64_t index) {
  Implementation& state = *implementation_;
  bool is_resident;
  uint64_t removals;
  {
    LockGuard hold(state.mutex);
    is_resident = state.tree.find(index) != nullptr;
    removals = state.removals;
  }
  if (is_resident) {
    PageRef page = ARIL_TRY(get(index, PageAccess::kWrite, Bound::kNone));
    return buffer.copy_in(page->bytes());
  }
  ARIL_TRY(state.backing->prepare_write(index));
  PageRef fresh = ARIL_TRY(allocate_page(page_allocator::Fill::kNone));
  size_t copied = ARIL_TRY(buffer.copy_in(fresh->bytes()));
  if (copied == kPageSize) ARIL_TRY(enter(index, fresh, removals, PageAccess::kWrite));
  PageRef page = ARIL_TRY(get(index, PageAccess::kWrite, Bound::kNone));
  // A part only, or someone else's page is there by now.
  if (page.get() != fresh.get()) std::memcpy(page->data(), fresh->data(), copied);
  return copied;
}

/// Bytes between the old end and `written_from` read as zeroes, also where a mapping stored beyond
/// the old end.
void PageCache::grow_locked(uint64_t size, uint64_t written_from) {
  Implementation& state = *implementation_;
  uint64_t tail = state.size % kPageSize;
  if (tail != 0 && written_from > state.size) {
    if (PageTree::Slot* slot = state.tree.find(state.size / kPageSize)) {
      uint64_t count = std::min(kPageSize - tail, written_from - state.size);
      std::memset(slot->page()->data() + tail, 0, count);
    }
  }
  state.size = size;
}

Result<void> PageCache::resize(uint64_t size) {
  Implementation& state = *implementation_;
  if (size > kMaxSize) return fail(Errno::kFBig);
  PageChain removed;
  uint64_t first = pages_for(size);
  {
    LockGuard hold(state.mutex);
    if (size >= state.size) {
      grow_locked(size, size);
      return {};
    }
    state.size = size;
    ++state.removals;
    uint64_t index;
    while (state.tree.next(first, index) != nullptr) removed.add(state.remove_locked(index));
    if (size % kPageSize != 0) {
      if (PageTree::Slot* slot = state.tree.find(size / kPageSize)) {
        auto tail = slot->page()->bytes().subspan(size % kPageSize);
        bool is_zero = std::ranges::all_of(tail, [](std::byte b) { return b == std::byte{}; });
        std::ranges::fill(tail, std::byte{});
        if (!is_zero) state.mark_dirty_locked(size / kPageSize);
      }
    }
  }
  // Nobody finds these pages any more; now those who mapped them lose them.
  if (is_mapped()) unmap_everywhere(first, pages_for(kMaxSize) - first);
  return {};
}

Result<void> PageCache::punch_hole(uint64_t start, uint64_t end) {
  Implementation& state = *implementation_;
  end = std::min(end, align_up(size(), kPageSize));
  if (start >= end) return {};
  uint64_t first = pages_for(start), last = end / kPageSize;
  // With a backing, a page that is gone would be read again: it is zeroed instead.
  if (state.backing != nullptr || first >= last) return zero_range(start, end);
  ARIL_TRY(zero_range(start, first * kPageSize));
  ARIL_TRY(zero_range(last * kPageSize, end));
  PageChain removed;
  {
    LockGuard hold(state.mutex);
    ++state.removals;
    uint64_t index;
    while (state.tree.next(first, index) != nullptr && index < last)
      removed.add(state.remove_locked(index));
  }
  if (is_mapped()) unmap_everywhere(first, last - first);
  return {};
}

void PageCache::drop_pages(uint64_t first, uint64_t last) {
  Implementation& state = *implementation_;
  PageChain removed;
  {
    LockGuard hold(state.mutex);
    ++state.removals;
    uint64_t index;
    while (state.tree.next(first, index) != nullptr && index < last)
      removed.add(state.remove_locked(index));
  }
  if (is_mapped()) unmap_everywhere(first, last - first);
}

Result<void> PageCache::zero_range(uint64_t start, uint64_t end) {
  while (start < end) {
    size_t in_page = start % kPageSize;
    size_t count = std::min<uint64_t>(kPageSize - in_page, end - start);
    PageRef page = ARIL_TRY(page_or_hole(start / kPageSize));
    if (page) {
      page = ARIL_TRY(get(start / kPageSize, PageAccess::kWrite, Bound::kSize));
      std::memset(page->data() + in_page, 0, count);
    }
    start += count;
  }
  return {};
}

size_t PageCache::drop_clean() {
  Implementation& state = *implementation_;
  if (state.backing == nullptr) return 0;
  PageChain removed;
  size_t count = 0;
  LockGuard hold(state.mutex);
  uint64_t index = 0;
  for (PageTree::Slot* slot = state.tree.next(0, index); slot != nullptr;
       slot = state.tree.next(index + 1, index)) {
    // Another reference is a mapping or a copy under way.
    if (slot->is_dirty() || slot->page()->references.load(std::memory_order_acquire) != 1) continue;
    removed.add(state.tree.take(index));
    ++count;
  }
  return count;
}

}  // namespace aril
