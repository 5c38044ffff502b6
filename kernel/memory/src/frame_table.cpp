#include "frame_table.hpp"

#include <algorithm>
#include <new>

#include "base/assert.hpp"
#include "kernel/log/log.hpp"

namespace aril {

void ExtentList::insert_at(size_t position, FrameExtent extent) {
  if (count_ == kCapacity) panic("memory map has more than %zu separate pieces", kCapacity);
  std::copy_backward(extents_ + position, extents_ + count_, extents_ + count_ + 1);
  extents_[position] = extent;
  ++count_;
}

void ExtentList::remove_at(size_t position) {
  std::copy(extents_ + position + 1, extents_ + count_, extents_ + position);
  --count_;
}

void ExtentList::add(FrameExtent extent) {
  if (extent.first >= extent.end) return;
  size_t i = 0;
  while (i < count_ && extents_[i].end < extent.first) ++i;
  while (i < count_ && extents_[i].first <= extent.end) {
    extent.first = std::min(extent.first, extents_[i].first);
    extent.end = std::max(extent.end, extents_[i].end);
    remove_at(i);
  }
  insert_at(i, extent);
}

void ExtentList::subtract(FrameExtent extent) {
  if (extent.first >= extent.end) return;
  for (size_t i = 0; i < count_;) {
    FrameExtent old = extents_[i];
    if (old.end <= extent.first || old.first >= extent.end) {
      ++i;
      continue;
    }
    remove_at(i);
    if (old.first < extent.first) insert_at(i++, {old.first, extent.first});
    if (old.end > extent.end) insert_at(i++, {extent.end, old.end});
  }
}

bool ExtentList::contains(uint64_t frame) const {
  for (const FrameExtent& extent : extents()) {
    if (frame < extent.first) return false;
    if (frame < extent.end) return true;
  }
  return false;
}

uint64_t ExtentList::total() const {
  uint64_t sum = 0;
  for (const FrameExtent& extent : extents()) sum += extent.count();
  return sum;
}

void FrameTable::make_entry(Page& page, uint64_t frame, uint8_t flags) {
  Page* entry = new (&page) Page{};
  entry->frame_number = static_cast<uint32_t>(frame);
  entry->flags = flags;
  entry->references.store((flags & Page::kPinned) != 0 ? 1 : 0, std::memory_order_relaxed);
}

void FrameTable::initialize(std::span<const PhysicalRange> usable,
                            std::span<const PhysicalRange> reserved) {
  ExtentList ram;
  // A frame number has 32 bits: RAM above 16 TiB stays unused.
  constexpr uint64_t kFrameLimit = uint64_t{1} << 32;
  for (const PhysicalRange& range : usable) {
    uint64_t first = (range.start >> kPageShift) + (is_aligned(range.start, kPageSize) ? 0 : 1);
    ram.add({std::max<uint64_t>(first, 1), std::min(range.end >> kPageShift, kFrameLimit)});
  }
  free_ = ram;
  for (const PhysicalRange& range : reserved) {
    if (range.start >= range.end) continue;
    FrameExtent extent{range.start >> kPageShift, ((range.end - 1) >> kPageShift) + 1};
    free_.subtract(extent);
  }
  // What is reserved but no RAM has no entry.
  reserved_ = ram;
  for (const FrameExtent& extent : free_.extents()) reserved_.subtract(extent);

  make_ranges(ram);
  for (Range& range : std::span(ranges_, range_count_)) place_table(range);
  for (const FrameExtent& extent : reserved_.extents()) {
    for (uint64_t frame = extent.first; frame < extent.end; ++frame)
      make_entry(*page_of(frame), frame, Page::kPinned);
  }
}

void FrameTable::make_ranges(const ExtentList& usable) {
  for (const FrameExtent& extent : usable.extents()) {
    if (range_count_ != 0 && extent.first - ranges_[range_count_ - 1].frames.end <= kMergeGap) {
      ranges_[range_count_ - 1].frames.end = extent.end;
    } else if (range_count_ == kMaxRanges) {
      ARIL_LOG_WARNING("memory", "RAM from 0x%llx on is not used: too many separate pieces",
                       static_cast<unsigned long long>(extent.first << kPageShift));
      free_.subtract({extent.first, ~uint64_t{0}});
      reserved_.subtract({extent.first, ~uint64_t{0}});
      return;
    } else {
      ranges_[range_count_++] = {.frames = extent, .next = extent.first};
    }
  }
}

void FrameTable::place_table(Range& range) {
  uint64_t frames = align_up(range.frames.count() * sizeof(Page), kPageSize) >> kPageShift;
  // The end of the highest extent that has room: low memory stays whole for devices that need it.
  const FrameExtent* best = nullptr;
  for (const FrameExtent& extent : free_.extents()) {
    if (extent.count() >= frames) best = &extent;
  }
  if (best == nullptr) {
    panic(
        "not enough memory: %llu KiB of RAM are free, %llu KiB are needed to manage it; give the "
        "machine more (--memory)",
        static_cast<unsigned long long>(free_.total() * 4),
        static_cast<unsigned long long>(frames * 4));
  }
  FrameExtent place{best->end - frames, best->end};
  free_.subtract(place);
  reserved_.add(place);
  // The direct map's bytes become the array; its entries are constructed one by one later.
  range.table = reinterpret_cast<Page*>(arch::physical_to_virtual(place.first << kPageShift));
}

FrameExtent FrameTable::take_block(Range& range) {
  uint64_t end = align_down(range.next, size_t{1} << page_allocator::kMaxOrder) +
                 (uint64_t{1} << page_allocator::kMaxOrder);
  FrameExtent block{range.next, std::min(end, range.frames.end)};
  range.next = block.end;
  return block;
}

Page* FrameTable::populated_neighbour(uint64_t frame, uint64_t neighbour) const {
  for (const Range& range : std::span(ranges_, range_count_)) {
    if (frame < range.frames.first || frame >= range.frames.end) continue;
    if (neighbour < range.frames.first || neighbour >= range.next) return nullptr;
    return range.table + (neighbour - range.frames.first);
  }
  return nullptr;
}

}  // namespace aril
