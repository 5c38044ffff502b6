#include "shared_segment.hpp"

#include <array>
#include <atomic>

#include "base/units.hpp"
#include "kernel/log/log.hpp"
#include "kernel/memory/page_allocator.hpp"
#include "limits.hpp"

namespace aril::linux_abi::ipc {
namespace {

[[clang::no_destroy]] constinit Table<SharedSegment> table;
constinit std::atomic<uint64_t> pages_in_use{0};

}  // namespace

Table<SharedSegment>& shared_segments() { return table; }
uint64_t shared_pages_in_use() { return pages_in_use.load(std::memory_order_relaxed); }

uint64_t SharedSegment::page_count() const { return align_up(size_, kPageSize) / kPageSize; }

Result<RefPtr<SharedSegment>> SharedSegment::create(int key, uint64_t size, bool reserve) {
  if (size < 1 || size > limits().segment_bytes.load(std::memory_order_relaxed))
    return fail(Errno::kInval);
  if (size > ~uint64_t{0} - kPageSize) return fail(Errno::kNoSpc);
  uint64_t pages = align_up(size, kPageSize) / kPageSize;
  // The table's mutex is held: nobody else adds at the same time.
  uint64_t all = limits().all_segments_pages.load(std::memory_order_relaxed);
  if (pages > all || shared_pages_in_use() > all - pages) return fail(Errno::kNoSpc);
  // What the machine could never hold is refused at once, as mmap does.
  if (reserve && pages > page_allocator::statistics().total_pages) return fail(Errno::kNoMem);
  std::array<char, 32> name;
  format_to(name, "/SYSV%08x (deleted)", static_cast<unsigned>(key));
  auto cache = PageCache::create(nullptr, pages * kPageSize, name.data());
  if (!cache) return fail(cache.error() == Errno::kFBig ? Errno::kNoMem : cache.error());
  RefPtr<SharedSegment> segment = ARIL_TRY(try_make_ref<SharedSegment>(std::move(*cache), size));
  segment->creator_pid = caller_pid();
  segment->changed_at = seconds_now();
  pages_in_use.fetch_add(pages, std::memory_order_relaxed);
  return segment;
}

SharedSegment::~SharedSegment() { pages_in_use.fetch_sub(page_count(), std::memory_order_relaxed); }

void SharedSegment::region_attached() {
  LockGuard hold(ipc.mutex);
  ++attached;
  attached_at = seconds_now();
  last_pid = caller_pid();
}

void SharedSegment::region_detached() {
  {
    LockGuard hold(ipc.mutex);
    --attached;
    detached_at = seconds_now();
    last_pid = caller_pid();
  }
  destroy_if_unused();
}

void SharedSegment::pin() {
  LockGuard hold(ipc.mutex);
  ++pins_;
}

void SharedSegment::unpin() {
  {
    LockGuard hold(ipc.mutex);
    --pins_;
  }
  destroy_if_unused();
}

void SharedSegment::remove() {
  {
    LockGuard hold(ipc.mutex);
    ipc.permissions.mode |= kDestroyed;
    ipc.permissions.key = kPrivateKey;
  }
  table.forget_key(*this);
  destroy_if_unused();
}

// The caller holds a reference: the region that went, or its own.
void SharedSegment::destroy_if_unused() {
  {
    LockGuard hold(ipc.mutex);
    if (ipc.removed || (ipc.permissions.mode & kDestroyed) == 0 || attached + pins_ != 0) return;
    ipc.removed = true;
  }
  table.remove(*this);
}

}  // namespace aril::linux_abi::ipc
