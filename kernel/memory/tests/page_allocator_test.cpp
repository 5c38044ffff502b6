#include "kernel/memory/page_allocator.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

#include "../src/frame_table.hpp"
#include "arch/cpu.hpp"
#include "host_memory.hpp"

namespace aril {
namespace {

using page_allocator::Fill;

class PageAllocator : public ::testing::Test {
 protected:
  void SetUp() override { initialize_host_memory(); }
};

TEST(ExtentList, MergesAndSubtracts) {
  ExtentList list;
  list.add({10, 20});
  list.add({30, 40});
  list.add({20, 25});
  list.add({5, 5});
  ASSERT_EQ(list.extents().size(), 2u);
  EXPECT_EQ(list.extents()[0].end, 25u);
  list.add({24, 31});
  ASSERT_EQ(list.extents().size(), 1u);
  list.subtract({15, 18});
  list.subtract({0, 11});
  list.subtract({39, 100});
  ASSERT_EQ(list.extents().size(), 2u);
  EXPECT_EQ(list.extents()[0].first, 11u);
  EXPECT_EQ(list.total(), 4u + 21u);
  EXPECT_TRUE(list.contains(38));
  EXPECT_FALSE(list.contains(39));
  EXPECT_FALSE(list.contains(15));
}

TEST_F(PageAllocator, CoversRamOnly) {
  EXPECT_NE(page_allocator::page_of(2 * kMiB), nullptr);
  EXPECT_TRUE(page_allocator::page_of(2 * kMiB)->is_pinned());
  EXPECT_TRUE(page_allocator::page_of(3 * kMiB + 50)->is_pinned());
  EXPECT_EQ(page_allocator::page_of(35 * kMiB), nullptr);
  EXPECT_EQ(page_allocator::page_of(0), nullptr);
  EXPECT_EQ(page_allocator::page_of(64 * kMiB), nullptr);
}

TEST_F(PageAllocator, ZeroesOnRequest) {
  Result<PageRef> page = page_allocator::allocate(Fill::kNone);
  ASSERT_TRUE(page);
  std::ranges::fill((*page)->bytes(), std::byte{0xaa});
  page->reset();
  page = page_allocator::allocate(Fill::kZero);
  ASSERT_TRUE(page);
  EXPECT_TRUE(std::ranges::all_of((*page)->bytes(), [](std::byte b) { return b == std::byte{}; }));
  EXPECT_EQ((*page)->references.load(), 1u);
}

TEST_F(PageAllocator, PinnedPagesAreNeverFreed) {
  size_t free_before = page_allocator::statistics().free_pages;
  PageRef shared = PageRef::share(page_allocator::page_of(2 * kMiB));
  shared.reset();
  PageRef::adopt(page_allocator::page_of(2 * kMiB)).reset();
  EXPECT_EQ(page_allocator::statistics().free_pages, free_before);
}

TEST_F(PageAllocator, BlocksAreAlignedAndDisjoint) {
  std::mt19937_64 random(42);
  std::map<PhysicalAddress, unsigned> live;
  size_t free_before = page_allocator::statistics().free_pages;
  for (int round = 0; round < 20000; ++round) {
    if (live.empty() || random() % 100 < 52) {
      auto order = static_cast<unsigned>(std::min<uint64_t>(random() % 7, random() % 11));
      Result<PhysicalAddress> start = page_allocator::allocate_block(order);
      if (!start) continue;
      PhysicalAddress end = *start + (kPageSize << order);
      ASSERT_TRUE(is_aligned(*start, kPageSize << order));
      auto after = live.lower_bound(*start);
      ASSERT_TRUE(after == live.end() || after->first >= end);
      if (after != live.begin()) {
        auto before = std::prev(after);
        ASSERT_LE(before->first + (kPageSize << before->second), *start);
      }
      live[*start] = order;
    } else {
      auto victim = std::next(live.begin(), static_cast<long>(random() % live.size()));
      page_allocator::free_block(victim->first, victim->second);
      live.erase(victim);
    }
  }
  for (auto [start, order] : live) page_allocator::free_block(start, order);
  EXPECT_EQ(page_allocator::statistics().free_pages, free_before);
}

TEST_F(PageAllocator, EveryPageCanBeHadAndMergesBack) {
  size_t free_before = page_allocator::statistics().free_pages;
  // Without interrupts the reserve may be used too.
  arch::InterruptGuard guard;
  std::vector<PageRef> pages;
  for (;;) {
    Result<PageRef> page = page_allocator::allocate(Fill::kNone);
    if (!page) break;
    pages.push_back(std::move(*page));
  }
  EXPECT_EQ(pages.size(), free_before);
  EXPECT_EQ(page_allocator::statistics().free_pages, 0u);
  EXPECT_EQ(page_allocator::allocate_block(3).error(), Errno::kNoMem);
  std::mt19937_64 random(1);
  std::shuffle(pages.begin(), pages.end(), random);
  pages.clear();
  EXPECT_EQ(page_allocator::statistics().free_pages, free_before);
  Result<PhysicalAddress> large = page_allocator::allocate_block(page_allocator::kMaxOrder);
  ASSERT_TRUE(large);
  page_allocator::free_range(*large, size_t{1} << page_allocator::kMaxOrder);
}

std::vector<PageRef> reclaimable;
size_t shrink_test_pages(size_t pages) {
  size_t freed = 0;
  for (; freed < pages && !reclaimable.empty(); ++freed) reclaimable.pop_back();
  return freed;
}

TEST_F(PageAllocator, ReclaimsWhenShortInThreadContextOnly) {
  page_allocator::add_shrinker(shrink_test_pages);
  std::vector<PageRef> pages;
  for (int i = 0; i < 100; ++i) reclaimable.push_back(*page_allocator::allocate(Fill::kNone));
  for (;;) {
    bool had_reclaimable = !reclaimable.empty();
    Result<PageRef> page = page_allocator::allocate(Fill::kNone);
    if (!page) {
      EXPECT_FALSE(had_reclaimable);
      break;
    }
    pages.push_back(std::move(*page));
  }
  EXPECT_TRUE(reclaimable.empty());
  // What is left is the reserve.
  size_t left = page_allocator::statistics().free_pages;
  EXPECT_GT(left, 0u);
  EXPECT_LE(left, 64u);
  reclaimable.push_back(std::move(pages.back()));
  pages.pop_back();
  arch::InterruptGuard guard;
  EXPECT_TRUE(page_allocator::allocate(Fill::kNone));
  EXPECT_EQ(reclaimable.size(), 1u);
  reclaimable.clear();
}

TEST_F(PageAllocator, ApplicationMemoryRunsOutFirst) {
  std::vector<PageRef> pages;
  for (;;) {
    Result<PageRef> page =
        page_allocator::allocate(Fill::kNone, page_allocator::Purpose::kApplication);
    if (!page) break;
    pages.push_back(std::move(*page));
  }
  for (int i = 0; i < 100; ++i) {
    Result<PageRef> page = page_allocator::allocate(Fill::kNone);
    ASSERT_TRUE(page);
    pages.push_back(std::move(*page));
  }
}

}  // namespace
}  // namespace aril
