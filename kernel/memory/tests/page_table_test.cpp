#include "arch/page_table.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "host_memory.hpp"

namespace aril::arch {
namespace {

class PageTables : public ::testing::Test {
 protected:
  void SetUp() override { initialize_host_memory(); }
};

constexpr PageFlags kReadWrite = PageFlags::kRead | PageFlags::kWrite;

TEST_F(PageTables, MapsProtectsUnmaps) {
  PageTable table = *PageTable::create();
  EXPECT_FALSE(table.query(0x40'0000));
  ASSERT_TRUE(table.map(0x40'0000, 0x12'3000, kReadWrite));
  auto translation = table.query(0x40'0000);
  ASSERT_TRUE(translation);
  EXPECT_EQ(translation->physical, 0x12'3000u);
  EXPECT_EQ(translation->flags, kReadWrite);
  EXPECT_FALSE(translation->dirty);
  table.protect(0x40'0000, PageFlags::kRead | PageFlags::kExecute);
  EXPECT_EQ(table.query(0x40'0000)->flags, PageFlags::kRead | PageFlags::kExecute);
  table.protect(0x40'1000, kReadWrite);
  EXPECT_FALSE(table.query(0x40'1000));
  EXPECT_EQ(table.unmap(0x40'0000)->physical, 0x12'3000u);
  EXPECT_FALSE(table.unmap(0x40'0000));
}

TEST_F(PageTables, HoldsInaccessiblePages) {
  PageTable table = *PageTable::create();
  ASSERT_TRUE(table.map(0x1000, 0x5000, PageFlags::kNone));
  EXPECT_EQ(table.query(0x1000)->flags, PageFlags::kNone);
  EXPECT_EQ(table.next_present(0, 0x10000), 0x1000u);
  table.protect(0x1000, kReadWrite);
  EXPECT_EQ(table.query(0x1000)->flags, kReadWrite);
  EXPECT_EQ(table.query(0x1000)->physical, 0x5000u);
  table.protect(0x1000, PageFlags::kNone);
  EXPECT_EQ(table.unmap(0x1000)->physical, 0x5000u);
}

TEST_F(PageTables, LargePages) {
  PageTable table = *PageTable::create();
  ASSERT_TRUE(table.map_large(0x20'0000, 0x4000'0000, kReadWrite));
  EXPECT_EQ(table.query(0x20'5000)->physical, 0x4000'5000u);
  EXPECT_EQ(table.next_present(0x30'0000, 0x1000'0000), 0x30'0000u);
  ASSERT_TRUE(table.map(0x40'0000, 0x1000, kReadWrite));
  EXPECT_EQ(table.map_large(0x40'0000, 0x4000'0000, kReadWrite).error(), Errno::kExist);
  EXPECT_EQ(table.map(0x20'0000, 0x1000, kReadWrite).error(), Errno::kExist);
  EXPECT_TRUE(table.is_large(0x20'5000));
  EXPECT_EQ(table.unmap_large(0x20'0000), 0x4000'0000u);
  EXPECT_FALSE(table.query(0x20'5000));
  table.unmap(0x40'0000);
}

TEST_F(PageTables, LargePagesSplitWithoutMemory) {
  size_t free_before = 0;
  {
    PageTable table = *PageTable::create();
    free_before = page_allocator::statistics().free_pages;
    ASSERT_TRUE(table.map_large(0x20'0000, 0x4000'0000, kReadWrite));
    size_t free_mapped = page_allocator::statistics().free_pages;
    table.protect(0x20'3000, PageFlags::kRead);
    EXPECT_EQ(page_allocator::statistics().free_pages, free_mapped);
    EXPECT_FALSE(table.is_large(0x20'3000));
    EXPECT_EQ(table.query(0x20'3000)->flags, PageFlags::kRead);
    for (uint64_t at = 0x20'0000; at < 0x40'0000; at += kPageSize) {
      EXPECT_EQ(table.query(at)->physical, at + 0x3fe0'0000);
      if (at != 0x20'3000) EXPECT_EQ(table.query(at)->flags, kReadWrite);
      EXPECT_EQ(table.unmap(at)->physical, at + 0x3fe0'0000);
    }
    EXPECT_EQ(table.next_present(0, kApplicationTop), kApplicationTop);
  }
  EXPECT_EQ(page_allocator::statistics().free_pages, free_before);
}

TEST_F(PageTables, PagesInOrderJoinAndSplitAgain) {
  constexpr uint64_t kStart = 0x20'0000, kEnd = 0x40'0000, kPhysical = 0x4000'0000;
  size_t free_before = 0;
  {
    PageTable table = *PageTable::create();
    free_before = page_allocator::statistics().free_pages;
    EXPECT_FALSE(table.join_large(kStart)) << "nothing there";
    for (uint64_t at = kStart; at < kEnd; at += kPageSize)
      ASSERT_TRUE(table.map(at, kPhysical + at - kStart, kReadWrite));
    size_t free_mapped = page_allocator::statistics().free_pages;
    constexpr uint64_t kOdd = kStart + 77 * kPageSize;
    table.protect(kOdd, PageFlags::kRead);
    EXPECT_FALSE(table.join_large(kStart)) << "other flags";
    ASSERT_TRUE(table.map(kOdd, kPhysical, kReadWrite));
    EXPECT_FALSE(table.join_large(kStart)) << "another page";
    table.unmap(kOdd);
    EXPECT_FALSE(table.join_large(kStart)) << "a hole";
    ASSERT_TRUE(table.map(kOdd, kPhysical + kOdd - kStart, kReadWrite));
    EXPECT_FALSE(table.is_large(kStart));
    ASSERT_TRUE(table.join_large(kStart));
    EXPECT_TRUE(table.is_large(kOdd));
    EXPECT_EQ(table.query(kOdd)->physical, kPhysical + kOdd - kStart);
    EXPECT_EQ(table.query(kOdd)->flags, kReadWrite);
    EXPECT_FALSE(table.join_large(kStart)) << "it is one";
    table.protect(kOdd, PageFlags::kRead);
    EXPECT_EQ(page_allocator::statistics().free_pages, free_mapped) << "the same table again";
    EXPECT_FALSE(table.is_large(kStart));
    for (uint64_t at = kStart; at < kEnd; at += kPageSize)
      EXPECT_EQ(table.unmap(at)->physical, kPhysical + at - kStart);
  }
  EXPECT_EQ(page_allocator::statistics().free_pages, free_before);
}

TEST_F(PageTables, SparseWalkFindsExactlyWhatIsMapped) {
  size_t free_before;
  {
    PageTable table = *PageTable::create();
    free_before = page_allocator::statistics().free_pages;
    std::map<uint64_t, uint64_t> model;
    std::mt19937_64 random(3);
    for (int i = 0; i < 300; ++i) {
      uint64_t address = align_down(random() % kApplicationTop, kPageSize);
      if (i % 3 == 0 && !model.empty())
        address = std::min(model.begin()->first + i * kPageSize, kApplicationTop - kPageSize);
      uint64_t physical = (random() % 100000) << kPageShift;
      ASSERT_TRUE(table.map(address, physical, kReadWrite));
      model[address] = physical;
    }
    uint64_t at = 0;
    for (auto [address, physical] : model) {
      at = table.next_present(at, kApplicationTop);
      ASSERT_EQ(at, address);
      EXPECT_EQ(table.query(at)->physical, physical);
      at += kPageSize;
    }
    EXPECT_EQ(table.next_present(at, kApplicationTop), kApplicationTop);
    for (auto [address, physical] : model) EXPECT_TRUE(table.unmap(address));
    table.free_tables(0, kApplicationTop, 0, kApplicationTop + kPageSize);
    EXPECT_EQ(page_allocator::statistics().free_pages, free_before);
  }
}

TEST_F(PageTables, FreeTablesKeepsNeighbours) {
  PageTable table = *PageTable::create();
  constexpr uint64_t kBase = 0x1'4000'0000, kSpan = 0x20'0000;
  for (uint64_t i = 0; i < 4; ++i)
    ASSERT_TRUE(table.map(kBase + i * kSpan, 0x1000 * (i + 1), kReadWrite));
  table.unmap(kBase + kSpan);
  table.unmap(kBase + 2 * kSpan);
  size_t before = page_allocator::statistics().free_pages;
  table.free_tables(kBase + kSpan, kBase + 2 * kSpan + kPageSize, kBase + kPageSize,
                    kBase + 2 * kSpan + kPageSize);
  EXPECT_EQ(page_allocator::statistics().free_pages, before + 1);
  table.free_tables(kBase + kSpan, kBase + 2 * kSpan + kPageSize, kBase + kPageSize,
                    kBase + 3 * kSpan);
  EXPECT_EQ(page_allocator::statistics().free_pages, before + 2);
  EXPECT_TRUE(table.query(kBase));
  EXPECT_TRUE(table.query(kBase + 3 * kSpan));
  EXPECT_EQ(table.next_present(kBase + kPageSize, kBase + 4 * kSpan), kBase + 3 * kSpan);
}

TEST_F(PageTables, TreesShareTheKernelMap) {
  PageTable table = *PageTable::create();
  uint64_t address = kKernelMapBase + 0x1234'5000;
  ASSERT_TRUE(PageTable::kernel().map(address, 0x7000, kReadWrite));
  EXPECT_EQ(table.query(address)->physical, 0x7000u);
  PageTable::kernel().unmap(address);
  EXPECT_FALSE(table.query(address));
}

}  // namespace
}  // namespace aril::arch
