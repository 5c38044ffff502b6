#include <algorithm>

#include "base/units.hpp"
#include "fs/tmpfs/memory_inode.hpp"

namespace aril::tmpfs {

RefPtr<PageCache> MemoryFile::cache_if_any() const {
  LockGuard guard(cache_lock_);
  return cache_;
}

void MemoryFile::set_cache(RefPtr<PageCache> cache) {
  LockGuard guard(cache_lock_);
  std::swap(cache_, cache);
}

Result<RefPtr<PageCache>> MemoryFile::page_cache(PageAccess) {
  if (RefPtr<PageCache> cache = cache_if_any()) return cache;
  RefPtr<PageCache> made =
      ARIL_TRY(PageCache::create_counted(ARIL_TRY(memory_file_system().quota())));
  LockGuard guard(cache_lock_);
  if (!cache_) std::swap(cache_, made);
  return cache_;
}

uint64_t MemoryFile::size() const {
  RefPtr<PageCache> cache = cache_if_any();
  return cache ? cache->size() : 0;
}

Result<FileStatus> MemoryFile::status() {
  RefPtr<PageCache> cache = cache_if_any();
  note_stores(cache.get());
  FileStatus status = ARIL_TRY(Inode::status());
  status.blocks_512 = (cache ? cache->resident_pages() : 0) * (kPageSize / 512);
  return status;
}

Result<void> MemoryFile::set_attributes(const vfs::AttributeChange& change) {
  note_stores(cache_if_any().get());
  return MemoryInode::set_attributes(change);
}

Result<uint64_t> MemoryFile::seek_extent(uint64_t offset, SeekOrigin origin) {
  RefPtr<PageCache> cache = cache_if_any();
  // What a layer below holds is all data.
  if (!cache || cache->tracks_writes()) return Inode::seek_extent(offset, origin);
  uint64_t end = cache->size();
  if (offset >= end) return fail(Errno::kNxIo);
  uint64_t index = offset / kPageSize;
  std::optional<uint64_t> page = cache->next_resident(index);
  if (origin == SeekOrigin::kHole) {
    for (; page == index && index * kPageSize < end; page = cache->next_resident(index)) ++index;
  } else {
    if (!page || *page * kPageSize >= end) return fail(Errno::kNxIo);
    index = *page;
  }
  return std::min(std::max(offset, index * kPageSize), end);
}

Result<size_t> MemoryFile::write_locked(IoBuffer& buffer, uint64_t offset) {
  uint32_t seals = seals_.load(std::memory_order_relaxed);
  if ((seals & (kSealWrite | kSealFutureWrite)) != 0) return fail(Errno::kPerm);
  uint64_t end = offset + buffer.remaining();
  if ((seals & kSealGrow) != 0 && end > size()) {
    if (offset >= size()) return fail(Errno::kPerm);
    buffer.truncate(size() - offset);
  }
  Result<size_t> count = Inode::write_locked(buffer, offset);
  on_modified();
  return count;
}

Result<void> MemoryFile::resize_locked(uint64_t size) {
  uint32_t seals = seals_.load(std::memory_order_relaxed);
  uint64_t before = this->size();
  if (size < before && (seals & kSealShrink) != 0) return fail(Errno::kPerm);
  if (size > before && (seals & kSealGrow) != 0) return fail(Errno::kPerm);
  RefPtr<PageCache> cache = ARIL_TRY(page_cache(PageAccess::kWrite));
  if (size < before) before_discard(size, ~uint64_t{0});
  ARIL_TRY(cache->resize(size));
  touch_modified();
  on_modified();
  return {};
}

Result<void> MemoryFile::allocate_locked(uint32_t mode, uint64_t offset, uint64_t length) {
  static constexpr uint32_t kKeepSize = 1, kPunchHole = 2, kZeroRange = 16;  // FALLOC_FL_*
  uint64_t end = offset + length;
  uint32_t seals = seals_.load(std::memory_order_relaxed);
  RefPtr<PageCache> cache = ARIL_TRY(page_cache(PageAccess::kWrite));
  bool keep_size = (mode & kKeepSize) != 0;
  switch (mode & ~kKeepSize) {
    case kPunchHole:
      if (!keep_size) return fail(Errno::kOpNotSupp);
      [[fallthrough]];
    case kZeroRange: {
      if ((seals & (kSealWrite | kSealFutureWrite)) != 0) return fail(Errno::kPerm);
      uint64_t stop = std::min(end, cache->size());
      if (offset < stop) {
        before_discard(offset, stop);
        ARIL_TRY(cache->punch_hole(offset, stop));
      }
      break;
    }
    case 0: {
      // Room is promised, not taken: pages come when they are written.
      uint64_t pages = (length + kPageSize - 1) / kPageSize;
      uint64_t have = cache->resident_pages();
      uint64_t available = ARIL_TRY(memory_file_system().quota())->available();
      if (pages > have && pages - have > available) return fail(Errno::kNoSpc);
      break;
    }
    default:
      return fail(Errno::kOpNotSupp);
  }
  if (!keep_size && end > cache->size()) {
    if ((seals & kSealGrow) != 0) return fail(Errno::kPerm);
    ARIL_TRY(cache->resize(end));
  }
  touch_modified();
  on_modified();
  return {};
}

Result<uint32_t> MemoryFile::seals() { return seals_.load(std::memory_order_relaxed); }

Result<void> MemoryFile::add_seals(uint32_t seals) {
  if ((seals & ~uint32_t{31}) != 0) return fail(Errno::kInval);
  LockGuard guard(mutex());
  uint32_t before = seals_.load(std::memory_order_relaxed);
  if ((before & kSealSeal) != 0) return fail(Errno::kPerm);
  if ((seals & ~before & kSealWrite) != 0) {
    RefPtr<PageCache> cache = cache_if_any();
    if (cache && cache->is_mapped_for_writing()) return fail(Errno::kBusy);
  }
  seals_.store(before | seals, std::memory_order_relaxed);
  return {};
}

}  // namespace aril::tmpfs
