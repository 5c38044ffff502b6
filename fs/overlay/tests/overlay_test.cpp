#include "fs/overlay/overlay.hpp"

#include <algorithm>

#include "../../erofs/tests/erofs_image.hpp"
#include "../../vfs/tests/linux_oracle.hpp"
#include "fs/erofs/erofs.hpp"

namespace aril::vfs {
namespace {

class OverlayTest : public LinuxOracle {
 protected:
  void SetUp() override {
    LinuxOracle::SetUp();
    if (IsSkipped()) return;
    if (std::system("mkfs.erofs --help > /dev/null 2>&1") != 0) GTEST_SKIP() << "no mkfs.erofs";
  }
  void TearDown() override {
    unmount();
    LinuxOracle::TearDown();
  }

  /// A tree with the names that random operations use.
  void fill() {
    namespace fs = std::filesystem;
    fs::path top = directory();
    fs::create_directories(top / "a/b/c");
    fs::create_directories(top / "d/e/f");
    fs::create_directories(top / "a/d");
    write(top / "b", 10000);
    write(top / "a/a", 4096);
    write(top / "a/b/b", 100);
    write(top / "a/b/c/a", 9000);
    write(top / "d/c", 0);
    fs::create_hard_link(top / "b", top / "d/b");
    fs::create_symlink("a/b", top / "c");
    fs::create_symlink("../../b", top / "d/e/a");
    fs::create_symlink("/d", top / "a/b/f");
    ASSERT_EQ(chown((top / "a/a").c_str(), 1000, 1000), 0);
    ASSERT_EQ(chown((top / "d").c_str(), 1000, 1000), 0);
    ASSERT_EQ(chmod((top / "d").c_str(), 01777), 0);
  }
  static void write(const std::filesystem::path& path, size_t size) {
    std::ofstream file(path);
    for (size_t i = 0; i < size; ++i) file.put(static_cast<char>('A' + i % 23));
  }
  void mount_overlay() {
    image.emplace(directory());
    ASSERT_FALSE(image->bytes().empty());
    auto lower = erofs::Erofs::open(image->bytes());
    ASSERT_TRUE(lower);
    auto overlay = overlay::Overlay::create(*lower);
    ASSERT_TRUE(overlay);
    mount(*overlay);
  }

  std::optional<erofs::TestImage> image;
};

class OverlayOracle : public OverlayTest, public ::testing::WithParamInterface<int> {};

TEST_P(OverlayOracle, AnswersAsLinuxDoes) {
  fill();
  mount_overlay();
  run(static_cast<uint64_t>(GetParam()), 3000);
}

INSTANTIATE_TEST_SUITE_P(Seeds, OverlayOracle, ::testing::Range(1, 61));

TEST_F(OverlayTest, LeavesTheImageAlone) {
  fill();
  mount_overlay();
  std::vector<std::byte> before(image->bytes().begin(), image->bytes().end());
  EXPECT_EQ(write_file("b", "short"), 0);
  auto file = open_at("a/a", OpenFlags::kReadWrite);
  ASSERT_TRUE(file);
  EXPECT_EQ(write_to(**file, "X"), 1u);
  EXPECT_EQ(read_file("a/a").size(), 4096u);
  EXPECT_EQ(read_file("a/a").substr(0, 3), "XBC");
  EXPECT_TRUE(std::ranges::equal(before, image->bytes()));
}

TEST_F(OverlayTest, KeepsInodeNumbersWhenWritten) {
  fill();
  mount_overlay();
  uint64_t before = stat("b")->inode;
  EXPECT_EQ(stat("d/b")->inode, before) << "a hard link";
  EXPECT_EQ(write_file("b", "new"), 0);
  EXPECT_EQ(stat("b")->inode, before);
  EXPECT_EQ(read_file("d/b"), "new") << "both names show the change";
  auto names = list("/");
  EXPECT_EQ(names.inodes["b"], before);
}

TEST_F(OverlayTest, RemembersChangesWithoutUsers) {
  fill();
  mount_overlay();
  EXPECT_EQ(write_file("a/b/c/a", "changed"), 0);
  EXPECT_EQ(error_of(remove_file(context(), cwd, "a/b/b")), 0);
  root.mount().file_system().dentries().shrink();
  EXPECT_EQ(read_file("a/b/c/a"), "changed");
  EXPECT_EQ(error_of(stat("a/b/b")), ENOENT);
  EXPECT_EQ(list("a/b").names.count("b"), 0u);
}

TEST_F(OverlayTest, SharesUnwrittenPages) {
  namespace fs = std::filesystem;
  write(fs::path(directory()) / "large", 1 << 20);
  mount_overlay();
  size_t before = page_allocator::statistics().free_pages;
  auto file = open_at("large", OpenFlags::kReadWrite);
  ASSERT_TRUE(file);
  EXPECT_EQ(write_to(**file, "x"), 1u);
  EXPECT_EQ(read_file("large").size(), size_t{1} << 20);
  EXPECT_LT(before - page_allocator::statistics().free_pages, 20u);
}

TEST_F(OverlayTest, ReadsWrittenDataThroughADescriptorOpenedBefore) {
  fill();
  mount_overlay();
  auto reader = open_at("b", OpenFlags::kReadOnly);
  ASSERT_TRUE(reader);
  EXPECT_EQ(write_file("b", "new"), 0);
  EXPECT_EQ(read_from(**reader), "new");
}

}  // namespace
}  // namespace aril::vfs
