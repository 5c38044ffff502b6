#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "arch/layout.hpp"
#include "base/result.hpp"
#include "base/units.hpp"

namespace aril {

using arch::PhysicalAddress;

/// What the kernel keeps about one 4 KiB frame of RAM: an entry of the frame table that covers all
/// RAM, boot image and ROM-like root file system in RAM included. A frame is freed when its last
/// reference goes.
struct Page {
  std::atomic<uint32_t> references;
  uint8_t order;  ///< of the free or allocated block that it heads
  uint8_t flags;
  uint16_t size_class;  ///< the heap's, with kSlab
  /// Number of page-table entries that map it, in any address space. With kSlab: the heap's.
  std::atomic<uint32_t> map_count;
  uint32_t frame_number;  ///< its physical address / kPageSize
  uint64_t link;          ///< the allocator's or the current owner's

  static constexpr uint8_t kPinned = 1;  ///< part of the image or device memory: never freed
  static constexpr uint8_t kFree = 2;
  static constexpr uint8_t kSlab = 4;
  static constexpr uint8_t kHeapBlock = 8;  ///< first page of a large heap allocation

  [[nodiscard]] bool is_pinned() const { return (flags & kPinned) != 0; }
  [[nodiscard]] PhysicalAddress physical() const {
    return PhysicalAddress{frame_number} << kPageShift;
  }
  /// Its contents through the direct map.
  [[nodiscard]] std::byte* data() const { return arch::physical_to_virtual(physical()); }
  [[nodiscard]] std::span<std::byte, kPageSize> bytes() const {
    return std::span<std::byte, kPageSize>(data(), kPageSize);
  }
};
static_assert(sizeof(Page) == 24);

namespace page_allocator {
/// Takes back a single page whose last reference is gone. PageRef's business.
void free_page(Page& page);
}  // namespace page_allocator

/// An owning reference to a Page; may be empty.
class PageRef {
 public:
  PageRef() = default;
  PageRef(const PageRef& other) : page_(other.page_) {
    if (page_ != nullptr) page_->references.fetch_add(1, std::memory_order_relaxed);
  }
  PageRef(PageRef&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}
  PageRef& operator=(PageRef other) noexcept {
    std::swap(page_, other.page_);
    return *this;
  }
  ~PageRef() { reset(); }
  void reset() {
    Page* page = std::exchange(page_, nullptr);
    // Release publishes this holder's accesses; acquire orders them before the frame's next use.
    if (page != nullptr && page->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
      page_allocator::free_page(*page);
  }
  static PageRef adopt(Page* page) {
    PageRef ref;
    ref.page_ = page;
    return ref;
  }
  static PageRef share(Page* page) {
    page->references.fetch_add(1, std::memory_order_relaxed);
    return adopt(page);
  }
  [[nodiscard]] Page* leak() { return std::exchange(page_, nullptr); }
  [[nodiscard]] Page* get() const { return page_; }
  Page* operator->() const { return page_; }
  Page& operator*() const { return *page_; }
  explicit operator bool() const { return page_ != nullptr; }

 private:
  Page* page_ = nullptr;
};

}  // namespace aril
