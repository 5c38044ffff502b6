#include <map>
#include <random>

#include "../src/page_tree.hpp"
#include "vm_fixture.hpp"

namespace aril {
namespace {

class PageTreeTest : public VmTest {};
class PageCacheTest : public VmTest {};

TEST_F(PageTreeTest, AgreesWithAMap) {
  PageTree tree;
  std::map<uint64_t, Page*> model;
  std::mt19937_64 random(5);
  for (int round = 0; round < 4000; ++round) {
    uint64_t index = random() >> (random() % 52 + 12);
    if (random() % 2 == 0) {
      PageRef page = *page_allocator::allocate(page_allocator::Fill::kNone);
      if (tree.find(index) != nullptr) continue;
      model[index] = page.get();
      ASSERT_TRUE(tree.insert(index, std::move(page)));
    } else if (!model.empty()) {
      auto it = model.lower_bound(index);
      if (it == model.end()) it = model.begin();
      EXPECT_EQ(tree.take(it->first).get(), it->second);
      EXPECT_EQ(tree.find(it->first), nullptr);
      model.erase(it);
    }
    EXPECT_EQ(tree.count(), model.size());
  }
  uint64_t index = 0, from = 0;
  for (auto [expected, page] : model) {
    PageTree::Slot* slot = tree.next(from, index);
    ASSERT_NE(slot, nullptr);
    EXPECT_EQ(index, expected);
    EXPECT_EQ(slot->page(), page);
    EXPECT_EQ(tree.find(expected), slot);
    from = index + 1;
  }
  EXPECT_EQ(tree.next(from, index), nullptr);
}

Result<size_t> write_text(PageCache& cache, std::string_view text, uint64_t offset) {
  IoBuffer::Segment storage;
  std::string copy(text);
  IoBuffer buffer = IoBuffer::kernel(storage, std::as_writable_bytes(std::span(copy)));
  return cache.write(buffer, offset);
}

std::string read_text(PageCache& cache, uint64_t offset, size_t count) {
  std::string text(count, '?');
  IoBuffer::Segment storage;
  IoBuffer buffer = IoBuffer::kernel(storage, std::as_writable_bytes(std::span(text)));
  text.resize(*cache.read(buffer, offset));
  return text;
}

TEST_F(PageCacheTest, ReadsAheadOnce) {
  FakeBacking backing;
  RefPtr<PageCache> cache = *PageCache::create(&backing, 6 * kPageSize + 10, "file");
  EXPECT_EQ((*cache->page(1, PageAccess::kRead))->data()[0], std::byte{2});
  EXPECT_EQ(backing.pages_read, 4u);
  EXPECT_TRUE(cache->page(4, PageAccess::kRead));
  EXPECT_EQ(backing.reads, 1u);
  EXPECT_TRUE(cache->page(6, PageAccess::kRead));
  EXPECT_EQ(cache->page(7, PageAccess::kRead).error(), Errno::kFault);
  EXPECT_FALSE(cache->resident_page(0));
  EXPECT_TRUE(cache->resident_page(2));
  EXPECT_EQ(read_text(*cache, 6 * kPageSize + 5, 100).size(), 5u);
  EXPECT_STREQ(cache->name(), "file");
}

TEST_F(PageCacheTest, BadPageFailsAlone) {
  FakeBacking backing;
  backing.bad_page = 2;
  RefPtr<PageCache> cache = *PageCache::create(&backing, 8 * kPageSize, "file");
  EXPECT_TRUE(cache->page(1, PageAccess::kRead));
  EXPECT_EQ(cache->page(2, PageAccess::kRead).error(), Errno::kIo);
  EXPECT_TRUE(cache->page(3, PageAccess::kRead));
}

TEST_F(PageCacheTest, WritesBackDirtyPages) {
  FakeBacking backing;
  RefPtr<PageCache> cache = *PageCache::create(&backing, 4 * kPageSize, "file");
  EXPECT_EQ(*write_text(*cache, "xy", kPageSize), 2u);
  ASSERT_TRUE(cache->write_back());
  ASSERT_EQ(backing.written.size(), 1u);
  EXPECT_EQ(backing.written[0].first, 1u);
  EXPECT_EQ(backing.written[0].second, std::byte{'x'});
  ASSERT_TRUE(cache->write_back());
  EXPECT_EQ(backing.written.size(), 1u);
  EXPECT_GT(cache->drop_clean(), 0u);
  EXPECT_EQ(cache->resident_pages(), 0u);
}

TEST_F(PageCacheTest, AnonymousHolesAndGrowth) {
  RefPtr<PageCache> cache = *PageCache::create(nullptr, 0, "tmp");
  EXPECT_EQ(*write_text(*cache, "hello", 3 * kPageSize + kPageSize - 2), 5u);
  EXPECT_EQ(cache->size(), 4 * kPageSize + 3);
  EXPECT_EQ(cache->resident_pages(), 2u);
  EXPECT_FALSE(*cache->page_or_hole(0));
  EXPECT_EQ(read_text(*cache, 4 * kPageSize - 4, 20), std::string("\0\0hello", 7));
  EXPECT_EQ(cache->resident_pages(), 2u);

  ASSERT_TRUE(cache->resize(4 * kPageSize - 1));
  EXPECT_EQ(cache->resident_pages(), 1u);
  ASSERT_TRUE(cache->resize(4 * kPageSize + 3));
  EXPECT_EQ(read_text(*cache, 4 * kPageSize - 4, 20), std::string("\0\0h\0\0\0\0", 7));

  EXPECT_EQ(*write_text(*cache, std::string(3 * kPageSize, 'a'), 0), 3 * kPageSize);
  ASSERT_TRUE(cache->punch_hole(10, 2 * kPageSize + 10));
  EXPECT_FALSE(*cache->page_or_hole(1));
  EXPECT_EQ(read_text(*cache, 9, 2), std::string("a\0", 2));
  EXPECT_EQ(read_text(*cache, 2 * kPageSize + 9, 2), std::string("\0a", 2));
  EXPECT_EQ(cache->resize(~uint64_t{0}).error(), Errno::kFBig);
}

TEST_F(PageCacheTest, CountedPagesAreLimited) {
  auto quota = *try_make_ref<PageQuota>(3);
  RefPtr<PageCache> first = *PageCache::create_counted(quota);
  RefPtr<PageCache> second = *PageCache::create_counted(quota);
  EXPECT_EQ(*write_text(*first, std::string(2 * kPageSize, 'a'), 0), 2 * kPageSize);
  EXPECT_EQ(*write_text(*second, std::string(2 * kPageSize, 'b'), 0), kPageSize);
  EXPECT_EQ(write_text(*second, "b", kPageSize).error(), Errno::kNoSpc);
  ASSERT_TRUE(second->resize(2 * kPageSize));
  EXPECT_EQ(second->page(1, PageAccess::kWrite).error(), Errno::kNoSpc);
  EXPECT_EQ(*write_text(*first, "c", 0), 1u);  // there already

  ASSERT_TRUE(first->punch_hole(0, kPageSize));
  EXPECT_EQ(quota->available(), 1u);
  EXPECT_TRUE(second->page(1, PageAccess::kWrite));
  ASSERT_TRUE(second->resize(0));
  EXPECT_EQ(quota->available(), 2u);
  first.reset();
  EXPECT_EQ(quota->available(), 3u);
}

TEST_F(PageCacheTest, TailBeyondTheEndIsZeroAfterGrowth) {
  RefPtr<PageCache> cache = *PageCache::create(nullptr, 10, "tmp");
  // A mapping may store beyond the end of the file.
  PageRef page = *cache->page(0, PageAccess::kWrite);
  page->data()[20] = std::byte{'z'};
  ASSERT_TRUE(cache->resize(30));
  EXPECT_EQ(page->data()[20], std::byte{0});
}

TEST_F(PageCacheTest, TruncationUnmapsEverywhere) {
  FakeBacking backing;
  RefPtr<PageCache> cache = *PageCache::create(&backing, 4 * kPageSize, "file");
  RefPtr<AddressSpace> space = *AddressSpace::create();
  uint64_t shared = *space->map({.length = 4 * kPageSize,
                                 .protection = kReadWrite,
                                 .sharing = Sharing::kShared,
                                 .object = cache});
  uint64_t copy = *space->map({.length = 4 * kPageSize, .protection = kReadWrite, .object = cache});
  EXPECT_EQ(load(*space, shared + 3 * kPageSize), 4);
  EXPECT_EQ(store(*space, copy + 3 * kPageSize, 77), FaultOutcome::kResolved);
  EXPECT_EQ(store(*space, copy + kPageSize, 78), FaultOutcome::kResolved);
  ASSERT_TRUE(cache->resize(2 * kPageSize));
  EXPECT_EQ(touch(*space, shared + 3 * kPageSize, false), FaultOutcome::kBusError);
  EXPECT_EQ(touch(*space, copy + 3 * kPageSize, false), FaultOutcome::kBusError);
  EXPECT_EQ(load(*space, copy + kPageSize), 78);
  ASSERT_TRUE(cache->resize(4 * kPageSize));
  EXPECT_EQ(load(*space, copy + 3 * kPageSize), 4);
}

TEST_F(PageCacheTest, SharedStoresAreTrackedAgainAfterWriteBack) {
  FakeBacking backing;
  RefPtr<PageCache> cache = *PageCache::create(&backing, 2 * kPageSize, "file");
  RefPtr<AddressSpace> space = *AddressSpace::create();
  uint64_t address = *space->map({.length = 2 * kPageSize,
                                  .protection = kReadWrite,
                                  .sharing = Sharing::kShared,
                                  .object = cache});
  for (uint8_t value : {50, 60}) {
    EXPECT_EQ(load(*space, address + kPageSize), value == 50 ? 2 : 50);
    EXPECT_EQ(store(*space, address + kPageSize, value), FaultOutcome::kResolved);
    ASSERT_TRUE(space->sync(address, 2 * kPageSize));
    EXPECT_EQ(backing.written.back(), std::pair(uint64_t{1}, std::byte{value}));
  }
  EXPECT_EQ(backing.written.size(), 2u);
}

TEST_F(PageCacheTest, ReclaimTakesMappedCleanPagesToo) {
  FakeBacking backing;
  RefPtr<PageCache> cache = *PageCache::create(&backing, 8 * kPageSize, "file");
  RefPtr<AddressSpace> space = *AddressSpace::create();
  uint64_t address =
      *space->map({.length = 8 * kPageSize, .protection = kReadWrite, .object = cache});
  for (uint64_t i = 0; i < 8; ++i) EXPECT_EQ(load(*space, address + i * kPageSize), int(i) + 1);
  EXPECT_EQ(store(*space, address, 99), FaultOutcome::kResolved);
  EXPECT_EQ(page_allocator::reclaim(100), 8u);
  EXPECT_EQ(load(*space, address), 99);
  EXPECT_EQ(load(*space, address + 5 * kPageSize), 6);
}

}  // namespace
}  // namespace aril
