#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "kernel/memory/page.hpp"
#include "kernel/sync/spin_lock.hpp"

namespace aril {

/// The kernel heap proper. Small blocks come from slabs: single pages cut into blocks of one size
/// class, each slab's state in its frame-table entry. Larger ones are whole pages of a buddy block
/// whose tail is given back. Any context that may take a spin lock.
class SlabHeap {
 public:
  /// Null when memory is short, or for more than 4 MiB. `alignment` is a power of two.
  void* allocate(size_t size, size_t alignment);
  void free(void* block);
  /// The bytes that belong to a live block, at least what was asked for.
  [[nodiscard]] static size_t usable_size(const void* block);
  [[nodiscard]] size_t bytes_in_use() const {
    return bytes_in_use_.load(std::memory_order_relaxed);
  }

 private:
  static constexpr std::array<uint16_t, 14> kSizes = {16,  32,  48,  64,  96,   128,  192,
                                                      256, 384, 512, 768, 1024, 1536, 2048};
  static constexpr auto kBlocksPerPage = [] {
    std::array<uint16_t, kSizes.size()> counts{};
    for (size_t i = 0; i < counts.size(); ++i) counts[i] = kPageSize / kSizes[i];
    return counts;
  }();
  /// Rounded up: exact for every offset in a page, as kPageSize * size is far below 2^32.
  static constexpr unsigned kReciprocalShift = 32;
  static constexpr auto kReciprocals = [] {
    std::array<uint64_t, kSizes.size()> values{};
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = ((uint64_t{1} << kReciprocalShift) + kSizes[i] - 1) / kSizes[i];
    return values;
  }();
  /// The slabs of one size that have a free block, linked through Page::link.
  struct SizeClass {
    SpinLock lock{LockRank::kHeap};
    uint32_t partial = 0;  ///< frame number of the first; 0: none
    uint32_t empty = 0;    ///< how many of them have no block in use
  };

  static size_t class_for(size_t size, size_t alignment);
  void* allocate_small(size_t class_index);
  void free_small(Page& page, void* block);
  static Page* make_slab(size_t class_index);
  static void link_locked(SizeClass& size_class, Page& page);
  static void unlink_locked(SizeClass& size_class, Page& page);
  void* allocate_pages(size_t size, size_t alignment);
  void free_pages(Page& head);

  std::array<SizeClass, kSizes.size()> classes_;
  std::atomic<size_t> bytes_in_use_{0};
};

}  // namespace aril
