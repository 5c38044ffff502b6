#include "vm_fixture.hpp"

// Faults that get more than the page they asked for, where a fault is expensive
// (arch::kFaultOrder).
namespace aril {
namespace {

class FaultCluster : public VmTest {
 protected:
  static constexpr uint64_t kBlock = 16 * kPageSize;
  void SetUp() override {
    VmTest::SetUp();
    space = *AddressSpace::create();
    AddressSpaceProbe::set_fault_order(*space, 4);
  }
  void TearDown() override {
    space.reset();
    VmTest::TearDown();
  }
  uint64_t resident() { return space->usage().resident_pages; }
  RefPtr<AddressSpace> space;
};

TEST_F(FaultCluster, GrowsWithMemoryThatIsFilledFromBelow) {
  uint64_t mapped = *space->map({.length = 8 * kBlock, .protection = kReadWrite});
  uint64_t address = align_up(mapped + 1, kBlock);
  ASSERT_EQ(store(*space, address + 5 * kPageSize, 1), FaultOutcome::kResolved);
  EXPECT_EQ(resident(), 1u) << "what continues nothing gets one page";
  for (uint64_t page = 0; page < 16; ++page) {
    ASSERT_EQ(store(*space, address + page * kPageSize, static_cast<uint8_t>(page + 1)),
              FaultOutcome::kResolved);
  }
  uint64_t before = resident();
  EXPECT_LE(before, 32u) << "twice as much as is there, at most";
  uint64_t next = address + before * kPageSize;
  ASSERT_EQ(store(*space, next, 17), FaultOutcome::kResolved);
  EXPECT_EQ(resident(), before + 16);
  EXPECT_EQ(AddressSpaceProbe::translate(*space, next + kBlock - kPageSize)->physical,
            AddressSpaceProbe::translate(*space, next)->physical + kBlock - kPageSize);
  EXPECT_EQ(load(*space, address + 9 * kPageSize), 10);
  EXPECT_EQ(load(*space, next + 5 * kPageSize), 0);
}

TEST_F(FaultCluster, GivesAllThatAHeapHasGrownBy) {
  // No multiple of anything.
  constexpr uint64_t kPages = 11, kGrowth = kPages * kPageSize;
  uint64_t address = *space->map({.length = 16 * kBlock, .protection = kReadWrite});
  ASSERT_TRUE(space->unmap(address + kGrowth, 16 * kBlock - kGrowth));
  for (uint64_t at = address; at < address + kGrowth; at += kPageSize)
    ASSERT_EQ(store(*space, at, 1), FaultOutcome::kResolved);
  EXPECT_EQ(resident(), kPages) << "nothing beyond the region";
  for (uint64_t growth = 1; growth < 8; ++growth) {
    uint64_t start = address + growth * kGrowth;
    ASSERT_TRUE(space->map({.address = start,
                            .length = kGrowth,
                            .protection = kReadWrite,
                            .placement = MapRequest::Placement::kFixed}));
    ASSERT_EQ(store(*space, start, 2), FaultOutcome::kResolved);
    EXPECT_EQ(resident(), (growth + 1) * kPages);
    EXPECT_EQ(load(*space, start + kGrowth - kPageSize), 0);
  }
}

/// A heap that grows by 33 pages at a time, as the C library's, each time filled from below but for
/// a page that is written to ahead.
class GrowingHeap : public FaultCluster {
 protected:
  static constexpr uint64_t kLarge = arch::kLargePageSize, kGrowth = 33 * kPageSize;
  static constexpr uint64_t kStart = 0x5555'0000'3000, kFirst = 0x5555'0020'0000;
  void SetUp() override {
    FaultCluster::SetUp();
    space->set_heap_start(kStart);
  }
  void grow_to(uint64_t end) {
    while (heap_end < end) {
      heap_end += kGrowth;
      ASSERT_EQ(space->set_break(heap_end), heap_end);
      for (uint64_t at = heap_end - kGrowth; at < heap_end; at += kPageSize) {
        uint64_t ahead = std::min(at + 2 * kPageSize, heap_end - kPageSize);
        ASSERT_EQ(store(*space, ahead, 0), FaultOutcome::kResolved);
        ASSERT_EQ(load(*space, at), 0);
        ASSERT_EQ(store(*space, at, pattern(at)), FaultOutcome::kResolved);
      }
    }
  }
  void expect_pattern() {
    for (uint64_t at = kStart; at < heap_end; at += kPageSize)
      ASSERT_EQ(load(*space, at), pattern(at)) << std::hex << at;
  }
  bool is_large(uint64_t address) { return AddressSpaceProbe::is_large(*space, address); }
  static uint8_t pattern(uint64_t address) { return static_cast<uint8_t>(address / kPageSize * 7); }
  uint64_t heap_end = kStart;
};

TEST_F(GrowingHeap, GetsLargePages) {
  grow_to(kFirst + 2 * kLarge + kLarge / 2);
  EXPECT_TRUE(is_large(kFirst));
  EXPECT_TRUE(is_large(kFirst + kLarge));
  EXPECT_FALSE(is_large(kFirst + 2 * kLarge));
  EXPECT_EQ(resident(), (heap_end - kStart) / kPageSize) << "nothing beyond the break is mapped";
  EXPECT_EQ(touch(*space, heap_end, true), FaultOutcome::kNotMapped);
  expect_pattern();
  // The end of it given back, from what has not become a large page yet.
  heap_end -= 3 * kPageSize;
  ASSERT_EQ(space->set_break(heap_end), heap_end);
  EXPECT_EQ(resident(), (heap_end - kStart) / kPageSize);
  grow_to(kFirst + 3 * kLarge + kLarge / 2);
  EXPECT_TRUE(is_large(kFirst + 2 * kLarge));
  expect_pattern();
  // Much of it given back, and grown into again.
  heap_end = kFirst + kLarge + kLarge / 2;
  ASSERT_EQ(space->set_break(heap_end), heap_end);
  EXPECT_EQ(resident(), (heap_end - kStart) / kPageSize);
  grow_to(kFirst + 4 * kLarge);
  EXPECT_TRUE(is_large(kFirst));
  EXPECT_FALSE(is_large(kFirst + kLarge));
  EXPECT_TRUE(is_large(kFirst + 2 * kLarge));
  expect_pattern();
}

TEST_F(GrowingHeap, GivesUpWhatIsUsedOtherwise) {
  grow_to(kFirst + kLarge / 2);
  // A page that nobody has written to is read.
  heap_end += kGrowth;
  ASSERT_EQ(space->set_break(heap_end), heap_end);
  EXPECT_EQ(load(*space, heap_end - kPageSize), 0);
  heap_end -= kGrowth;
  grow_to(kFirst + kLarge);
  EXPECT_FALSE(is_large(kFirst));
  expect_pattern();
  grow_to(kFirst + 2 * kLarge);
  EXPECT_TRUE(is_large(kFirst + kLarge)) << "the next block is another matter";
}

TEST_F(GrowingHeap, KeepsWithinTheRegionOfTheFault) {
  grow_to(kFirst + kLarge / 2);
  uint64_t guard = heap_end;
  ASSERT_EQ(space->set_break(heap_end + kBlock + kGrowth), heap_end + kBlock + kGrowth);
  ASSERT_TRUE(space->protect(guard, kPageSize, Protection::kRead));
  ASSERT_EQ(store(*space, guard + 4 * kPageSize, 1), FaultOutcome::kResolved);
  EXPECT_EQ(touch(*space, guard, true), FaultOutcome::kNotPermitted);
  EXPECT_EQ(load(*space, guard), 0);
}

TEST_F(GrowingHeap, GivesItsReservationUpWhenMemoryIsShort) {
  grow_to(kFirst + kLarge / 4);
  std::vector<PageRef> taken;
  while (Result<PageRef> page = page_allocator::allocate(page_allocator::Fill::kNone,
                                                         page_allocator::Purpose::kApplication))
    taken.push_back(std::move(*page));
  uint64_t other = *space->map({.length = kLarge / 2, .protection = kReadWrite});
  for (uint64_t at = other; at < other + kLarge / 2; at += kPageSize)
    ASSERT_EQ(store(*space, at, 5), FaultOutcome::kResolved) << (at - other) / kPageSize;
  taken.clear();
  grow_to(kFirst + kLarge);
  expect_pattern();
}

TEST_F(FaultCluster, GrowsWithMemoryThatIsFilledFromAbove) {
  uint64_t mapped = *space->map({.length = 8 * kBlock, .protection = kReadWrite});
  uint64_t end = align_up(mapped + 1, kBlock) + 2 * kBlock;
  for (uint64_t page = 1; page <= 16; ++page) {
    ASSERT_EQ(store(*space, end - page * kPageSize, static_cast<uint8_t>(page)),
              FaultOutcome::kResolved);
  }
  EXPECT_EQ(resident(), 16u);
  ASSERT_EQ(store(*space, end - kBlock - kPageSize, 17), FaultOutcome::kResolved);
  EXPECT_EQ(resident(), 32u);
  EXPECT_EQ(load(*space, end - 9 * kPageSize), 9);
  EXPECT_EQ(load(*space, end - kBlock - 5 * kPageSize), 0);
}

TEST_F(FaultCluster, StaysWithinTheRegionAndClearOfWhatIsThere) {
  uint64_t address = *space->map({.length = 64 * kPageSize, .protection = kReadWrite});
  uint64_t block = align_up(address + 1, kBlock);
  ASSERT_TRUE(space->unmap(block + 3 * kPageSize, kPageSize));
  ASSERT_EQ(store(*space, block - kPageSize, 1), FaultOutcome::kResolved);
  ASSERT_EQ(store(*space, block, 2), FaultOutcome::kResolved);
  EXPECT_EQ(resident(), 3u);
  ASSERT_EQ(store(*space, block + 2 * kPageSize, 3), FaultOutcome::kResolved);
  EXPECT_EQ(resident(), 4u);
  // Pages of a block are given back one by one.
  ASSERT_TRUE(space->unmap(block + kPageSize, kPageSize));
  EXPECT_EQ(resident(), 3u);
  EXPECT_EQ(load(*space, block), 2);
}

TEST_F(FaultCluster, CopiesAheadOfWritesThatGoUpwards) {
  FakeBacking backing;
  auto cache = *PageCache::create(&backing, 64 * kPageSize, "");
  for (uint64_t index = 0; index < 64; ++index) ASSERT_TRUE(cache->page(index, PageAccess::kRead));
  uint64_t address = *space->map({.address = 0x1000'0000,
                                  .length = 64 * kPageSize,
                                  .protection = kReadWrite,
                                  .object = cache});
  ASSERT_EQ(address, 0x1000'0000u);
  ASSERT_EQ(store(*space, address + 8 * kPageSize, 99), FaultOutcome::kResolved);
  EXPECT_EQ(resident(), 1u) << "a first write copies one page";
  uint64_t page = 9;
  for (uint64_t copied : {2, 4, 8, 8}) {
    ASSERT_EQ(store(*space, address + page * kPageSize, 99), FaultOutcome::kResolved);
    for (uint64_t next = page + 1; next < page + copied; ++next) {
      auto entry = AddressSpaceProbe::translate(*space, address + next * kPageSize);
      ASSERT_TRUE(entry && has(entry->flags, arch::PageFlags::kWrite)) << next;
      EXPECT_EQ(load(*space, address + next * kPageSize), static_cast<int>(next + 1));
    }
    page += copied;
    EXPECT_EQ(load(*space, address + page * kPageSize), static_cast<int>(page + 1));
    auto entry = AddressSpaceProbe::translate(*space, address + page * kPageSize);
    ASSERT_TRUE(entry && !has(entry->flags, arch::PageFlags::kWrite)) << "twice as much, at most";
  }
  ASSERT_EQ(store(*space, address + 20 * kPageSize, 98), FaultOutcome::kResolved);
  EXPECT_EQ(std::to_integer<int>(cache->page(20, PageAccess::kRead).value()->data()[0]), 21)
      << "the file's own page is untouched";
}

}  // namespace
}  // namespace aril
