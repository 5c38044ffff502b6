#include "ext4_fixture.hpp"

// What is on the disk makes no sense.
namespace aril::vfs {
namespace {

TEST_F(Ext4Test, DamageIsAnErrorAndNothingElse) {
  make("64M", "-b 4096");
  if (!fs) return;
  ASSERT_EQ(make_dir("d"), 0);
  EXPECT_EQ(write_file("d/file", pattern(10'000)), 0);
  detach();
  // A bit in the directory's block: found by its name.
  std::string_view all(reinterpret_cast<const char*>(disk->bytes().data()), disk->bytes().size());
  size_t at = all.rfind("file");
  ASSERT_NE(at, std::string_view::npos);
  disk->bytes()[at + 1] ^= std::byte{1};
  mount_disk();
  EXPECT_EQ(error_of(stat("d/file")), EIO);
  EXPECT_EQ(error_of(stat("d/fhle")), EIO);
  EXPECT_EQ(write_file("other", "fine"), 0);
}

TEST_F(Ext4Test, AChangeThatBreaksOffLeavesNothingBehind) {
  constexpr size_t kBlock = 4096;
  make("64M", "-b 4096 -O ^metadata_csum");
  if (!fs) return;
  detach();
  // The one group's block bitmap says that all is in use, its descriptor that there is room: found
  // when the new directory has its inode already.
  ext4::format::Le32 bitmap;
  std::memcpy(&bitmap, disk->bytes().data() + kBlock, sizeof bitmap);
  std::memset(disk->bytes().data() + bitmap * kBlock, 0xff, kBlock);
  // More often than there are places in the shrinker's table, so that LeakSanitizer sees volumes
  // that nothing else refers to.
  for (int i = 0; i < 40; ++i) {
    mount_disk();
    EXPECT_EQ(make_dir("d"), ENOSPC);
    EXPECT_EQ(write_file("file", ""), EROFS);
    drop();
  }
}

TEST_F(Ext4Test, AFailedDisksPagesGoWithTheMount) {
  make("64M", "");
  if (!fs) return;
  EXPECT_EQ(write_file("file", pattern(100'000)), 0);
  EXPECT_GT(page_write_back::dirty_pages(), 0u);
  disk->fails = true;
  EXPECT_NE(error_of(fs->unmount()), 0);
  EXPECT_GT(page_write_back::dirty_pages(), 0u);
  drop();
  page_write_back::write_all();
  EXPECT_EQ(page_write_back::dirty_pages(), 0u);
}

TEST_F(Ext4Test, TimesBeyondWhatNanosecondsCountAreTheLast) {
  make("64M", "-O ^metadata_csum");
  if (!fs) return;
  EXPECT_EQ(write_file("file", "x"), 0);
  constexpr uint32_t kMark = 0x12345678;
  EXPECT_EQ(error_of(change_times(context(), *resolve(context(), cwd, "file", LookupFlags::kFollow),
                                  {TimeChange::Kind::kOmit, 0},
                                  {TimeChange::Kind::kSet, int64_t{kMark} * 1'000'000'000})),
            0);
  detach();
  std::string_view all(reinterpret_cast<const char*>(disk->bytes().data()), disk->bytes().size());
  std::string_view mark(reinterpret_cast<const char*>(&kMark), sizeof kMark);
  // The inode's i_mtime, in its place and in the journal; the epoch bits of i_mtime_extra say 2446.
  size_t found = 0;
  for (size_t at = all.find(mark); at != std::string_view::npos; at = all.find(mark, at + 1)) {
    size_t inode = at - offsetof(ext4::format::Inode, modify_time);
    disk->bytes()[inode + offsetof(ext4::format::Inode, modify_extra)] |= std::byte{3};
    ++found;
  }
  EXPECT_GE(found, 1u);
  mount_disk();
  EXPECT_GT(stat("file")->modify_ns, int64_t{9'200'000'000} * 1'000'000'000);
}

}  // namespace
}  // namespace aril::vfs
