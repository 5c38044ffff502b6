#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel/memory/page_allocator.hpp"

namespace aril {

/// A stretch of frames by number; `end` is one past the last.
struct FrameExtent {
  uint64_t first = 0, end = 0;
  [[nodiscard]] uint64_t count() const { return end - first; }
};

/// Sorted, disjoint extents without allocation. Start-up only.
class ExtentList {
 public:
  /// Adds, merging what touches or overlaps. Panics when the machine has more pieces than fit.
  void add(FrameExtent extent);
  /// Removes whatever of `extent` is in the list.
  void subtract(FrameExtent extent);
  [[nodiscard]] std::span<const FrameExtent> extents() const { return {extents_, count_}; }
  [[nodiscard]] bool contains(uint64_t frame) const;
  [[nodiscard]] uint64_t total() const;

 private:
  void insert_at(size_t position, FrameExtent extent);
  void remove_at(size_t position);

  static constexpr size_t kCapacity = 64;
  FrameExtent extents_[kCapacity] = {};
  size_t count_ = 0;
};

/// The Page entries of all RAM: one array per stretch of RAM, so that the hole below 4 GiB costs
/// nothing. Entries of free memory come into being block by block, when the buddy system first
/// needs them; those of reserved memory at once.
///
/// Not synchronised: start-up, then the page allocator's lock. page_of may be called by anyone who
/// holds a frame, whose entry therefore exists.
class FrameTable {
 public:
  /// As page_allocator::initialize.
  void initialize(std::span<const PhysicalRange> usable, std::span<const PhysicalRange> reserved);

  [[nodiscard]] Page* page_of(uint64_t frame) const {
    for (const Range& range : std::span(ranges_, range_count_)) {
      if (frame >= range.frames.first && frame < range.frames.end)
        return range.table + (frame - range.frames.first);
    }
    return nullptr;
  }
  /// The entry of a frame in the same stretch as `frame` whose entry exists already; else null.
  [[nodiscard]] Page* populated_neighbour(uint64_t frame, uint64_t neighbour) const;

  /// Makes the entries of the next block of 2^kMaxOrder frames that was never used, and calls
  /// give(page) for every frame of it that is free, in ascending order. False when all are done.
  template <typename Give>
  bool populate_next_block(Give give) {
    for (Range& range : std::span(ranges_, range_count_)) {
      if (range.next >= range.frames.end) continue;
      FrameExtent block = take_block(range);
      for (uint64_t frame = block.first; frame < block.end; ++frame) {
        if (reserved_.contains(frame)) continue;
        Page* page = page_of(frame);
        bool is_free = free_.contains(frame);
        make_entry(*page, frame, is_free ? 0 : Page::kPinned);
        if (is_free) give(*page);
      }
      return true;
    }
    return false;
  }

  /// Free frames at start-up.
  [[nodiscard]] uint64_t initially_free() const { return free_.total(); }
  [[nodiscard]] uint64_t pinned() const { return reserved_.total(); }

 private:
  struct Range {
    FrameExtent frames;
    Page* table = nullptr;
    uint64_t next = 0;  ///< the first frame that populate_next_block has not reached
  };
  void make_ranges(const ExtentList& usable);
  void place_table(Range& range);
  static FrameExtent take_block(Range& range);
  static void make_entry(Page& page, uint64_t frame, uint8_t flags);

  // Stretches of RAM closer than this share a table: the hole's entries cost less than a range.
  static constexpr uint64_t kMergeGap = 1024;
  static constexpr size_t kMaxRanges = 32;
  Range ranges_[kMaxRanges] = {};
  size_t range_count_ = 0;
  ExtentList free_;      ///< usable and neither reserved nor a table
  ExtentList reserved_;  ///< in use for good: entries exist and are pinned
};

}  // namespace aril
