#include "fs/erofs/erofs.hpp"

#include <sys/xattr.h>

#include "../../vfs/tests/linux_oracle.hpp"
#include "erofs_image.hpp"

namespace aril::vfs {
namespace {

/// A disk in memory; counts what is read.
class MemoryDisk final : public BlockDevice {
 public:
  explicit MemoryDisk(std::span<const std::byte> bytes) : bytes_(bytes) {}
  uint64_t sector_count() const override { return bytes_.size() / kSectorSize; }
  bool is_read_only() const override { return true; }
  std::string_view name() const override { return "vda"; }
  Result<void> read(uint64_t sector, std::span<const Segment> segments) override {
    uint64_t offset = sector * kSectorSize;
    for (const Segment& segment : segments) {
      if (offset + segment.length > bytes_.size()) return fail(Errno::kIo);
      std::memcpy(arch::physical_to_virtual(segment.address), bytes_.data() + offset,
                  segment.length);
      offset += segment.length;
    }
    ++reads;
    return {};
  }
  Result<void> write(uint64_t, std::span<const Segment>) override { return fail(Errno::kRoFs); }
  Result<void> flush() override { return {}; }
  unsigned reads = 0;

 private:
  std::span<const std::byte> bytes_;
};

class ErofsTest : public LinuxOracle {
 protected:
  void SetUp() override {
    LinuxOracle::SetUp();
    if (IsSkipped()) return;
    if (std::system("mkfs.erofs --help > /dev/null 2>&1") != 0) GTEST_SKIP() << "no mkfs.erofs";
  }

  /// Files of every size around a block, directories of many blocks, links, special files, holes.
  void fill() {
    namespace fs = std::filesystem;
    fs::path top = directory();
    for (size_t size : {0, 1, 100, 4000, 4095, 4096, 4097, 8191, 8192, 10000, 300000}) {
      std::ofstream file(top / ("size-" + std::to_string(size)));
      for (size_t i = 0; i < size; ++i) file.put(static_cast<char>(i * 7 + i / 4096));
    }
    fs::create_directories(top / "a/b/c/d");
    fs::create_directories(top / "empty");
    for (int i = 0; i < 150; ++i)
      std::ofstream(top / "a/b" /
                    ("a-rather-long-name-so-that-few-entries-fill-a-block-of-the-directory-" +
                     std::to_string(i)))
          << i;
    fs::create_symlink("../size-100", top / "a/link");
    fs::create_symlink(std::string(3000, 'x'), top / "long-link");
    fs::create_hard_link(top / "size-4097", top / "a/b/hard");
    ASSERT_EQ(mkfifo((top / "fifo").c_str(), 0640), 0);
    ASSERT_EQ(mknod((top / "device").c_str(), S_IFCHR | 0600, makedev_of(300, 70000)), 0);
    // A directory of several blocks, and files of all sizes around a block's.
    fs::create_directory(top / "many");
    for (int i = 0; i < 400; ++i) {
      std::ofstream file(top / "many" / ("a-name-of-some-length-" + std::to_string(i)));
      file << std::string(static_cast<size_t>(i * 37 % 9000), static_cast<char>('a' + i % 26));
    }
    ASSERT_EQ(chown((top / "size-100").c_str(), 60000, 5), 0);
    ASSERT_EQ(chmod((top / "size-1").c_str(), 04711), 0);
  }
  static int setxattr_of(const std::string& path, const char* name, std::string_view value) {
    return setxattr(path.c_str(), name, value.data(), value.size(), 0);
  }
  static dev_t makedev_of(uint64_t major, uint64_t minor) {
    return mode::make_device(static_cast<uint32_t>(major), static_cast<uint32_t>(minor));
  }

  void check(RefPtr<FileSystem> file_system) {
    mount(std::move(file_system));
    enter();
    compare_trees();
    EXPECT_EQ(make_dir("new"), EROFS);
    EXPECT_EQ(write_file("size-1", "x"), EROFS);
    EXPECT_EQ(error_of(remove_file(context(), cwd, "size-1")), EROFS);
    leave();
  }
};

TEST_F(ErofsTest, ReadsWhatMkfsWrote) {
  fill();
  for (const char* options :
       {"", "-E noinline_data", "-E force-inode-compact", "-E force-inode-extended",
        "--chunksize=4096", "--chunksize=16384", "--chunksize=8192 -E force-chunk-indexes"}) {
    SCOPED_TRACE(options);
    erofs::TestImage image(directory(), options);
    ASSERT_FALSE(image.bytes().empty());
    auto file_system = erofs::Erofs::open(image.bytes());
    ASSERT_TRUE(file_system);
    check(*file_system);
    unmount();
  }
}

TEST_F(ErofsTest, ReadsFromADisk) {
  fill();
  erofs::TestImage image(directory());
  MemoryDisk disk(image.bytes());
  auto file_system = erofs::Erofs::open(disk);
  ASSERT_TRUE(file_system);
  check(*file_system);
}

TEST_F(ErofsTest, UsesWholeBlocksInPlace) {
  fill();
  erofs::TestImage image(directory());
  auto file_system = erofs::Erofs::open(image.bytes());
  ASSERT_TRUE(file_system);
  mount(*file_system);
  auto file = open_at("size-300000", OpenFlags::kReadOnly);
  ASSERT_TRUE(file);
  auto object = (*file)->memory_object();
  ASSERT_TRUE(object);
  auto page = (*object)->page(3, PageAccess::kRead);
  ASSERT_TRUE(page);
  EXPECT_GE((*page)->data(), image.bytes().data());
  EXPECT_LT((*page)->data(), image.bytes().data() + image.bytes().size());
  EXPECT_STREQ((*object)->name(), "/size-300000");
}

TEST_F(ErofsTest, GivesExtendedAttributes) {
  std::ofstream(directory() + "/file") << "x";
  std::ofstream(directory() + "/other") << "y";
  std::string base = directory();
  if (setxattr_of(base + "/file", "user.one", "first") != 0) GTEST_SKIP() << "no xattrs here";
  for (const char* name : {"/file", "/other"})
    ASSERT_EQ(setxattr_of(base + name, "trusted.shared", "a value that both have"), 0);
  erofs::TestImage image(directory(), "-x1");
  auto file_system = erofs::Erofs::open(image.bytes());
  ASSERT_TRUE(file_system);
  mount(*file_system);
  auto place = resolve(context(), cwd, "file", LookupFlags::kFollow);
  ASSERT_TRUE(place);
  auto value = get_xattr(context(), *place, "user.one");
  ASSERT_TRUE(value);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(value->data()), value->size()), "first");
  value = get_xattr(context(), *place, "trusted.shared");
  ASSERT_TRUE(value);
  EXPECT_EQ(value->size(), 22u);
  EXPECT_EQ(error_of(get_xattr(context(), *place, "user.two")), ENODATA);
  auto names = list_xattrs(context(), *place);
  ASSERT_TRUE(names);
  EXPECT_NE(names->find("trusted.shared"), std::string::npos);
  EXPECT_NE(names->find("user.one"), std::string::npos);
}

TEST_F(ErofsTest, RefusesWhatIsNoImage) {
  std::vector<std::byte> nothing(8192);
  EXPECT_EQ(error_of(erofs::Erofs::open(std::span<const std::byte>(nothing))), EINVAL);
  EXPECT_EQ(error_of(erofs::Erofs::open(std::span<const std::byte>())), EINVAL);
  fill();
  erofs::TestImage compressed(directory(), "-zlz4");
  // Files that are stored plain can be read; a compressed one says what it is.
  if (!compressed.bytes().empty()) {
    if (auto file_system = erofs::Erofs::open(compressed.bytes())) {
      mount(*file_system);
      EXPECT_EQ(error_of(stat("size-300000")), EOPNOTSUPP);
      unmount();
    }
  }
  erofs::TestImage image(directory());
  EXPECT_EQ(error_of(erofs::Erofs::open(image.bytes().first(image.bytes().size() / 2))), EIO);
  image.bytes()[1024 + 20] ^= std::byte{1};
  EXPECT_EQ(error_of(erofs::Erofs::open(image.bytes())), EIO);
}

}  // namespace
}  // namespace aril::vfs
