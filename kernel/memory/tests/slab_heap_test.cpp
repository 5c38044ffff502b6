#include "../src/slab_heap.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "host_memory.hpp"
#include "kernel/memory/heap.hpp"

namespace aril {
namespace {

class Heap : public ::testing::Test {
 protected:
  void SetUp() override { initialize_host_memory(); }
  SlabHeap heap;
};

TEST_F(Heap, RandomBlocksKeepTheirContents) {
  struct Block {
    unsigned char* data;
    size_t size;
    unsigned char fill;
  };
  std::vector<Block> live;
  std::mt19937_64 random(7);
  auto check_and_free = [&](const Block& block) {
    for (size_t i = 0; i < block.size; ++i) ASSERT_EQ(block.data[i], block.fill);
    heap.free(block.data);
  };
  for (int round = 0; round < 20000; ++round) {
    if (live.empty() || random() % 100 < 51) {
      size_t size = random() % (size_t{1} << (random() % 15));
      size_t alignment = size_t{1} << (random() % 9);
      void* data = heap.allocate(size, alignment);
      ASSERT_NE(data, nullptr);
      ASSERT_TRUE(is_aligned(reinterpret_cast<uintptr_t>(data), alignment));
      ASSERT_GE(SlabHeap::usable_size(data), size);
      auto fill = static_cast<unsigned char>(random());
      std::memset(data, fill, size);
      live.push_back({static_cast<unsigned char*>(data), size, fill});
    } else {
      size_t victim = random() % live.size();
      check_and_free(live[victim]);
      live[victim] = live.back();
      live.pop_back();
    }
  }
  for (const Block& block : live) check_and_free(block);
  EXPECT_EQ(heap.bytes_in_use(), 0u);
}

TEST_F(Heap, ReturnsPagesWhenEmpty) {
  size_t before = page_allocator::statistics().free_pages;
  std::vector<void*> blocks;
  for (int i = 0; i < 1000; ++i) blocks.push_back(heap.allocate(100, 16));
  EXPECT_LT(page_allocator::statistics().free_pages, before - 30);
  for (void* block : blocks) heap.free(block);
  EXPECT_GE(page_allocator::statistics().free_pages, before - 1);
}

TEST_F(Heap, LargeBlocksTakeOnlyTheirPages) {
  size_t before = page_allocator::statistics().free_pages;
  void* block = heap.allocate(5 * kPageSize + 1, 16);
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(page_allocator::statistics().free_pages, before - 6);
  heap.free(block);
  EXPECT_EQ(page_allocator::statistics().free_pages, before);
  void* aligned = heap.allocate(kPageSize, 16 * kPageSize);
  EXPECT_TRUE(is_aligned(
      reinterpret_cast<uintptr_t>(aligned) - reinterpret_cast<uintptr_t>(arch::host_ram()),
      16 * kPageSize));
  heap.free(aligned);
  EXPECT_EQ(heap.allocate(5 * kMiB, 16), nullptr);
  EXPECT_EQ(heap.allocate(~size_t{0}, 16), nullptr);
  heap.free(nullptr);
}

TEST_F(Heap, GuardedStacksHaveAGuard) {
  std::byte* stack = heap::allocate_guarded_stack(8 * kPageSize);
  ASSERT_NE(stack, nullptr);
  auto bottom = reinterpret_cast<uint64_t>(stack);
  arch::PageTable& kernel = arch::PageTable::kernel();
  EXPECT_FALSE(kernel.query(bottom - 1));
  EXPECT_FALSE(kernel.query(bottom + 8 * kPageSize));
  for (size_t i = 0; i < 8; ++i) {
    auto translation = kernel.query(bottom + i * kPageSize);
    ASSERT_TRUE(translation);
    EXPECT_FALSE(has(translation->flags, arch::PageFlags::kExecute));
    EXPECT_TRUE(has(translation->flags, arch::PageFlags::kWrite));
  }
}

TEST_F(Heap, DevicesAreMappedUncached) {
  std::byte* registers = heap::map_device(0xfee00040, 8);
  auto address = reinterpret_cast<uint64_t>(registers);
  EXPECT_EQ(address % kPageSize, 0x40u);
  auto translation = arch::PageTable::kernel().query(address);
  ASSERT_TRUE(translation);
  EXPECT_EQ(translation->physical, 0xfee00000u);
  EXPECT_TRUE(has(translation->flags, arch::PageFlags::kUncached));
  EXPECT_EQ(heap::map_device(0xfee00000, 0), nullptr);
  EXPECT_EQ(heap::map_device(~0ul - 10, 4096), nullptr);
}

}  // namespace
}  // namespace aril
