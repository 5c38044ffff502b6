#include <functional>
#include <map>
#include <string>

#include "vm_fixture.hpp"

namespace aril {
namespace {

/// A disk of pages, which says how they were written to it.
class DiskBacking final : public PageBacking {
 public:
  Result<void> read_pages(uint64_t index, std::span<PageRef> pages) override {
    for (size_t i = 0; i < pages.size(); ++i)
      std::memset(pages[i]->data(), std::to_integer<int>(disk[index + i]), kPageSize);
    return {};
  }
  Result<void> prepare_write(uint64_t index) override {
    ++prepared;
    if (index >= room) return fail(Errno::kNoSpc);
    return {};
  }
  Result<void> write_pages(uint64_t index, std::span<PageRef> pages, uint64_t size) override {
    requests.push_back({index, pages.size()});
    file_size = size;
    if (while_writing) while_writing();
    if (broken) return fail(Errno::kIo);
    for (PageRef& page : pages) disk[index++] = page->bytes()[0];
    return {};
  }
  Result<void> make_durable() override {
    ++flushes;
    return {};
  }
  [[nodiscard]] bool takes_write_back() const override { return is_disk; }

  std::map<uint64_t, std::byte> disk;
  std::vector<std::pair<uint64_t, size_t>> requests;
  std::function<void()> while_writing;
  uint64_t room = ~uint64_t{0}, file_size = 0;
  bool broken = false, is_disk = true;
  unsigned prepared = 0, flushes = 0;
};

using Requests = std::vector<std::pair<uint64_t, size_t>>;

class PageWriteBackTest : public VmTest {
 protected:
  void SetUp() override {
    VmTest::SetUp();
    cache = *PageCache::create(&backing, 1000 * kPageSize, "file");
  }
  void TearDown() override {
    cache.reset();
    EXPECT_EQ(page_write_back::dirty_pages(), 0u);
    VmTest::TearDown();
  }
  Result<size_t> write(uint64_t page, char value, uint64_t pages = 1) {
    std::string text(pages * kPageSize, value);
    IoBuffer::Segment storage;
    IoBuffer buffer = IoBuffer::kernel(storage, std::as_writable_bytes(std::span(text)));
    return cache->write(buffer, page * kPageSize);
  }

  DiskBacking backing;
  RefPtr<PageCache> cache;
};

TEST_F(PageWriteBackTest, NeighboursGoOutTogether) {
  for (uint64_t page : {7, 3, 4, 5, 20}) ASSERT_TRUE(write(page, 'a'));
  EXPECT_EQ(page_write_back::dirty_pages(), 5u);
  ASSERT_TRUE(cache->write_dirty());
  EXPECT_EQ(backing.requests, (Requests{{3, 3}, {7, 1}, {20, 1}}));
  EXPECT_EQ(backing.disk[20], std::byte{'a'});
  EXPECT_EQ(backing.file_size, 1000 * kPageSize);
  EXPECT_EQ(backing.flushes, 0u);
  EXPECT_EQ(page_write_back::dirty_pages(), 0u);
  ASSERT_TRUE(cache->write_back());
  EXPECT_EQ(backing.requests.size(), 3u);
  EXPECT_EQ(backing.flushes, 1u);
}

TEST_F(PageWriteBackTest, RequestsAreBounded) {
  ASSERT_TRUE(write(100, 'a', 200));
  ASSERT_TRUE(cache->write_dirty());
  uint64_t next = 100;
  for (auto [index, count] : backing.requests) {
    EXPECT_EQ(index, next);
    EXPECT_LE(count, 64u);
    next += count;
  }
  EXPECT_EQ(next, 300u);
}

TEST_F(PageWriteBackTest, WhatCouldNotBeWrittenStaysDirty) {
  ASSERT_TRUE(write(1, 'a'));
  ASSERT_TRUE(write(9, 'b'));
  backing.broken = true;
  EXPECT_EQ(cache->write_back().error(), Errno::kIo);
  EXPECT_EQ(backing.flushes, 0u);
  EXPECT_EQ(page_write_back::dirty_pages(), 2u);
  EXPECT_EQ(cache->drop_clean(), 0u);
  // The one that fails does not keep the other from being tried.
  EXPECT_EQ(backing.requests, (Requests{{1, 1}, {9, 1}}));
  backing.broken = false;
  ASSERT_TRUE(cache->write_back());
  EXPECT_EQ(backing.disk[1], std::byte{'a'});
  EXPECT_EQ(backing.disk[9], std::byte{'b'});
}

TEST_F(PageWriteBackTest, WhatChangesMeanwhileGoesOutTheNextTime) {
  ASSERT_TRUE(write(1, 'a'));
  backing.while_writing = [&] { ASSERT_TRUE(write(1, 'b')); };
  ASSERT_TRUE(cache->write_dirty());
  EXPECT_EQ(backing.requests.size(), 1u);
  EXPECT_EQ(page_write_back::dirty_pages(), 1u);
  backing.while_writing = nullptr;
  ASSERT_TRUE(cache->write_dirty());
  EXPECT_EQ(backing.disk[1], std::byte{'b'});
  EXPECT_EQ(backing.requests.size(), 2u);
}

TEST_F(PageWriteBackTest, ADirtyCacheLivesUntilItIsWritten) {
  ASSERT_TRUE(write(2, 'a'));
  PageCache* raw = cache.get();
  EXPECT_EQ(raw->ref_count(), 2u);
  cache.reset();
  page_write_back::write_all();
  EXPECT_EQ(backing.disk[2], std::byte{'a'});
  EXPECT_EQ(page_write_back::dirty_pages(), 0u);
}

TEST_F(PageWriteBackTest, TruncatedPagesAreNotWritten) {
  ASSERT_TRUE(write(2, 'a'));
  ASSERT_TRUE(write(8, 'b'));
  ASSERT_TRUE(cache->resize(4 * kPageSize));
  EXPECT_EQ(page_write_back::dirty_pages(), 1u);
  ASSERT_TRUE(cache->write_dirty());
  EXPECT_EQ(backing.requests, (Requests{{2, 1}}));
  EXPECT_EQ(backing.file_size, 4 * kPageSize);
}

TEST_F(PageWriteBackTest, ADeletedFileNeedNotBeWritten) {
  ASSERT_TRUE(write(2, 'a'));
  cache->discard();
  EXPECT_EQ(cache->ref_count(), 1u);
  page_write_back::write_all();
  EXPECT_TRUE(backing.requests.empty());
}

TEST_F(PageWriteBackTest, WithoutRoomNothingBecomesDirty) {
  backing.room = 5;
  EXPECT_EQ(write(5, 'a').error(), Errno::kNoSpc);
  EXPECT_EQ(*write(4, 'a', 2), kPageSize);
  EXPECT_EQ(cache->page(6, PageAccess::kWrite).error(), Errno::kNoSpc);
  EXPECT_EQ(page_write_back::dirty_pages(), 1u);
  ASSERT_TRUE(cache->write_dirty());
}

TEST_F(PageWriteBackTest, ADirtyPageIsPreparedOnce) {
  ASSERT_TRUE(cache->page(1, PageAccess::kWrite));
  ASSERT_TRUE(cache->page(1, PageAccess::kWrite));
  EXPECT_EQ(backing.prepared, 1u);
  ASSERT_TRUE(cache->write_dirty());
  ASSERT_TRUE(cache->page(1, PageAccess::kWrite));
  EXPECT_EQ(backing.prepared, 2u);
  ASSERT_TRUE(cache->write_dirty());
}

TEST_F(PageWriteBackTest, WithNowhereToGoPagesStay) {
  backing.is_disk = false;
  ASSERT_TRUE(write(1, 'a'));
  EXPECT_EQ(page_write_back::dirty_pages(), 0u);
  EXPECT_EQ(cache->ref_count(), 1u);
  ASSERT_TRUE(cache->write_back());
  EXPECT_TRUE(backing.requests.empty());
  EXPECT_EQ(cache->drop_clean(), 0u);
}

TEST_F(PageWriteBackTest, StoresOfMappingsAreToldOnce) {
  EXPECT_FALSE(cache->take_store_time());
  ASSERT_TRUE(write(1, 'a'));
  EXPECT_FALSE(cache->take_store_time());  // whoever writes knows it
  RefPtr<AddressSpace> space = *AddressSpace::create();
  uint64_t address = *space->map({.length = 4 * kPageSize,
                                  .protection = kReadWrite,
                                  .sharing = Sharing::kShared,
                                  .object = cache});
  EXPECT_EQ(load(*space, address), 0);
  EXPECT_FALSE(cache->take_store_time());
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(store(*space, address, 5), FaultOutcome::kResolved);
    EXPECT_TRUE(cache->take_store_time());
    EXPECT_FALSE(cache->take_store_time());
    ASSERT_TRUE(cache->write_dirty());
  }
  EXPECT_EQ(backing.disk[0], std::byte{5});
}

TEST_F(PageWriteBackTest, SaysWhichPagesAreThere) {
  ASSERT_TRUE(write(3, 'a'));
  EXPECT_EQ(cache->next_resident(0), 3u);
  EXPECT_EQ(cache->next_resident(3), 3u);
  EXPECT_FALSE(cache->next_resident(4));
  ASSERT_TRUE(cache->write_dirty());
}

}  // namespace
}  // namespace aril
