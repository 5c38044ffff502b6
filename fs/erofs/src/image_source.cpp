#include "image_source.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

#include "base/unique.hpp"
#include "kernel/memory/page_allocator.hpp"

namespace aril::erofs {
namespace {

bool is_inside(uint64_t offset, uint64_t length, uint64_t size) {
  return offset <= size && length <= size - offset;
}

class RamSource final : public ImageSource {
 public:
  explicit RamSource(std::span<const std::byte> image) : image_(image) {}

  uint64_t size() const override { return image_.size(); }

  Result<void> read(uint64_t offset, std::span<std::byte> to) override {
    if (!is_inside(offset, to.size(), image_.size())) return fail(Errno::kIo);
    std::memcpy(to.data(), image_.data() + offset, to.size());
    return {};
  }

  PageRef in_place(uint64_t block) override {
    if (block >= image_.size() / kPageSize) return {};
    const std::byte* bytes = image_.data() + block * kPageSize;
    if (!is_aligned(reinterpret_cast<uint64_t>(bytes), kPageSize)) return {};
    Page* page = page_allocator::page_of(arch::virtual_to_physical(bytes));
    return page == nullptr ? PageRef() : PageRef::share(page);
  }

  Result<void> read_blocks(uint64_t block, std::span<PageRef> pages) override {
    for (PageRef& page : pages) ARIL_TRY(read(block++ * kPageSize, page->bytes()));
    return {};
  }

  unsigned read_ahead_pages() const override { return 1; }

 private:
  const std::span<const std::byte> image_;
};

/// A disk. Metadata goes through a page cache over the whole disk; file contents go straight to
/// the pages of the files' own caches.
class DiskSource final : public ImageSource, private PageBacking {
 public:
  explicit DiskSource(BlockDevice& device) : device_(device) {}

  Result<void> initialize() {
    uint64_t sectors = device_.sector_count();
    if (sectors > ~uint64_t{0} / BlockDevice::kSectorSize / 2) return fail(Errno::kIo);
    size_ = align_down(sectors * BlockDevice::kSectorSize, kPageSize);
    metadata_ = ARIL_TRY(PageCache::create(this, size_, ""));
    return {};
  }

  uint64_t size() const override { return size_; }

  Result<void> read(uint64_t offset, std::span<std::byte> to) override {
    if (!is_inside(offset, to.size(), size_)) return fail(Errno::kIo);
    while (!to.empty()) {
      PageRef page = ARIL_TRY(metadata_->page(offset / kPageSize, PageAccess::kRead));
      size_t within = offset % kPageSize;
      size_t length = std::min(to.size(), kPageSize - within);
      std::memcpy(to.data(), page->data() + within, length);
      to = to.subspan(length);
      offset += length;
    }
    return {};
  }

  PageRef in_place(uint64_t) override { return {}; }

  Result<void> read_blocks(uint64_t block, std::span<PageRef> pages) override {
    static constexpr size_t kBatch = 64;
    if (!is_inside(block, pages.size(), size_ / kPageSize)) return fail(Errno::kIo);
    while (!pages.empty()) {
      std::array<BlockDevice::Segment, kBatch> segments;
      size_t count = std::min(pages.size(), kBatch);
      for (size_t i = 0; i < count; ++i) segments[i] = {pages[i]->physical(), kPageSize};
      ARIL_TRY(device_.read(block * (kPageSize / BlockDevice::kSectorSize),
                            std::span(segments).first(count)));
      pages = pages.subspan(count);
      block += count;
    }
    return {};
  }

  Result<void> read_pages(uint64_t index, std::span<PageRef> pages) override {
    return read_blocks(index, pages);
  }
  unsigned read_ahead_pages() const override { return 32; }

 private:
  BlockDevice& device_;
  uint64_t size_ = 0;
  RefPtr<PageCache> metadata_;
};

}  // namespace

Result<std::unique_ptr<ImageSource>> ImageSource::create(std::span<const std::byte> image) {
  return ARIL_TRY(try_make_unique<RamSource>(image));
}

Result<std::unique_ptr<ImageSource>> ImageSource::create(BlockDevice& device) {
  std::unique_ptr<DiskSource> source = ARIL_TRY(try_make_unique<DiskSource>(device));
  ARIL_TRY(source->initialize());
  return source;
}

}  // namespace aril::erofs
