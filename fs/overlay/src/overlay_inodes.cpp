#include "overlay_inodes.hpp"

#include <algorithm>
#include <cstring>

namespace aril::overlay {

PageRef OverlayBacking::in_place(uint64_t index) {
  uint64_t limit = limit_.load(std::memory_order_relaxed);
  return index < limit / kPageSize ? lower_->in_place(index) : PageRef();
}

Result<void> OverlayBacking::read_pages(uint64_t index, std::span<PageRef> pages) {
  uint64_t limit = limit_.load(std::memory_order_relaxed);
  uint64_t lower_pages = (limit + kPageSize - 1) / kPageSize;
  size_t from_lower =
      index < lower_pages ? std::min<uint64_t>(pages.size(), lower_pages - index) : 0;
  if (from_lower != 0) ARIL_TRY(lower_->read_pages(index, pages.first(from_lower)));
  for (PageRef& page : pages.subspan(from_lower)) std::ranges::fill(page->bytes(), std::byte{});
  if (from_lower != 0 && index + from_lower == lower_pages && limit % kPageSize != 0) {
    auto last = pages[from_lower - 1]->bytes();
    std::ranges::fill(last.subspan(limit % kPageSize), std::byte{});
  }
  return {};
}

void OverlayBacking::cut(uint64_t size) {
  if (size < limit_.load(std::memory_order_relaxed)) limit_.store(size, std::memory_order_relaxed);
}

OverlayFile::~OverlayFile() = default;

Result<RefPtr<PageCache>> OverlayFile::page_cache(PageAccess access) {
  if (RefPtr<PageCache> cache = cache_if_any()) return cache;
  if (access == PageAccess::kRead) return lower_link().lower().page_cache(PageAccess::kRead);
  LockGuard guard(copy_up_mutex_);
  if (RefPtr<PageCache> cache = cache_if_any()) return cache;
  std::unique_ptr<PageBacking> lower = ARIL_TRY(lower_link().lower().make_backing());
  uint64_t size = lower_link().lower().size();
  auto& overlay = static_cast<Overlay&>(file_system());
  auto* backing = new (std::nothrow) OverlayBacking(overlay.lower(), std::move(lower), size);
  if (backing == nullptr) return fail(Errno::kNoMem);
  RefPtr<PageCache> cache =
      ARIL_TRY(PageCache::create_owning(std::unique_ptr<PageBacking>(backing), size, ""));
  backing_.store(backing, std::memory_order_release);
  set_cache(cache);
  on_modified();
  return cache;
}

uint64_t OverlayFile::size() const {
  RefPtr<PageCache> cache = cache_if_any();
  return cache ? cache->size() : lower_link().lower().size();
}

Result<FileStatus> OverlayFile::status() {
  FileStatus status = ARIL_TRY(MemoryFile::status());
  // Sparse or not is the lower layer's business; afterwards it is no longer told.
  status.blocks_512 = (status.size + 511) / 512;
  return status;
}

void OverlayFile::before_discard(uint64_t start, uint64_t end) {
  if (end != ~uint64_t{0}) return;  // a hole: the cache zeroes the pages itself
  if (OverlayBacking* backing = backing_.load(std::memory_order_acquire)) backing->cut(start);
}

Result<bool> OverlayDirectory::is_in_lower(std::string_view name) {
  Result<RefPtr<vfs::Inode>> found = lower_link().lower().lookup(name);
  if (found) return true;
  if (found.error() == Errno::kNoEnt) return false;
  return fail(found.error());
}

Result<RefPtr<vfs::Inode>> OverlayDirectory::lookup_lower(std::string_view name) {
  RefPtr<vfs::Inode> found = ARIL_TRY(lower_link().lower().lookup(name));
  return ARIL_TRY(static_cast<Overlay&>(file_system()).inode_for(std::move(found)));
}

namespace {

/// Looks for the first name that is not hidden.
template <typename IsHidden>
class FirstVisible final : public vfs::DirectoryEmitter {
 public:
  explicit FirstVisible(IsHidden is_hidden) : is_hidden_(is_hidden) {}
  bool emit(std::string_view name, uint64_t, uint8_t, uint64_t) override {
    found = !is_hidden_(name);
    return !found;
  }
  bool found = false;

 private:
  IsHidden is_hidden_;
};

/// Passes on the names that are not hidden.
template <typename IsHidden>
class VisibleOnly final : public vfs::DirectoryEmitter {
 public:
  VisibleOnly(vfs::DirectoryEmitter& next, IsHidden is_hidden)
      : next_(next), is_hidden_(is_hidden) {}
  bool emit(std::string_view name, uint64_t inode, uint8_t type, uint64_t next_offset) override {
    if (is_hidden_(name)) return true;
    if (next_.emit(name, inode, type, next_offset)) return true;
    full = true;
    return false;
  }
  bool full = false;

 private:
  vfs::DirectoryEmitter& next_;
  IsHidden is_hidden_;
};

}  // namespace

Result<bool> OverlayDirectory::is_empty() {
  if (!has_no_own_files()) return false;
  FirstVisible visitor([this](std::string_view name) { return find_entry(name) != nullptr; });
  ARIL_TRY(lower_link().lower().read_directory(2, visitor));
  return !visitor.found;
}

Result<bool> OverlayDirectory::read_lower(uint64_t offset, vfs::DirectoryEmitter& emitter) {
  VisibleOnly visitor(emitter,
                      [this](std::string_view name) { return find_entry(name) != nullptr; });
  ARIL_TRY(lower_link().lower().read_directory(offset, visitor));
  return !visitor.full;
}

}  // namespace aril::overlay
