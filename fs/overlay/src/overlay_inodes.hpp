#pragma once
#include "lower_link.hpp"

namespace aril::overlay {

/// The pages of a written file: the lower layer's as far as they were not cut off.
class OverlayBacking final : public PageBacking {
 public:
  OverlayBacking(RefPtr<vfs::FileSystem> lower_system, std::unique_ptr<PageBacking> lower,
                 uint64_t size)
      : lower_system_(std::move(lower_system)), lower_(std::move(lower)), limit_(size) {}

  PageRef in_place(uint64_t index) override;
  Result<void> read_pages(uint64_t index, std::span<PageRef> pages) override;
  [[nodiscard]] bool takes_write_back() const override { return false; }
  [[nodiscard]] unsigned read_ahead_pages() const override { return lower_->read_ahead_pages(); }

  /// What lies behind `size` in the lower file is gone, even if the file grows again.
  void cut(uint64_t size);

 private:
  const RefPtr<vfs::FileSystem> lower_system_;
  const std::unique_ptr<PageBacking> lower_;
  /// Only shrinks. Relaxed: the page cache's own lock orders it against the removal of pages.
  std::atomic<uint64_t> limit_;
};

class OverlayFile final : public Lowered<tmpfs::MemoryFile> {
 public:
  using Lowered::Lowered;
  ~OverlayFile() override;
  Result<FileStatus> status() override;
  Result<RefPtr<PageCache>> page_cache(PageAccess access) override;
  [[nodiscard]] uint64_t size() const override;

 protected:
  void before_discard(uint64_t start, uint64_t end) override;

 private:
  /// Owned by the cache; null until copied up. Set once, under copy_up_mutex_.
  std::atomic<OverlayBacking*> backing_{nullptr};
  Mutex copy_up_mutex_{LockRank::kInodeNested};
};

class OverlayDirectory final : public Lowered<tmpfs::MemoryDirectory> {
 public:
  using Lowered::Lowered;

 protected:
  Result<bool> is_in_lower(std::string_view name) override;
  Result<RefPtr<vfs::Inode>> lookup_lower(std::string_view name) override;
  Result<bool> is_empty() override;
  Result<bool> read_lower(uint64_t offset, vfs::DirectoryEmitter& emitter) override;
};

}  // namespace aril::overlay
