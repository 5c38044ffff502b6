#include "fs/tmpfs/tmpfs.hpp"

#include "../../vfs/tests/fs_fixture.hpp"

namespace aril::vfs {
namespace {

class TmpfsTest : public FsTest {
 protected:
  void mount_with(const tmpfs::Tmpfs::Options& options) { mount(*tmpfs::Tmpfs::create(options)); }
  static std::span<const std::byte> bytes(std::string_view text) {
    return std::as_bytes(std::span(text));
  }
};

TEST_F(TmpfsTest, SaysNoSpaceAtItsLimit) {
  mount_with({.size = 4 * kPageSize});
  auto file = *open_at("file", OpenFlags::kReadWrite | OpenFlags::kCreate);
  EXPECT_EQ(write_to(*file, std::string(10 * kPageSize, 'x')), 4 * kPageSize);
  std::string one = "x";
  IoBuffer::Segment segment;
  auto buffer = IoBuffer::kernel(segment, std::as_writable_bytes(std::span(one)));
  EXPECT_EQ(error_of(file->write(buffer)), ENOSPC);
  EXPECT_EQ(*file->seek(0, SeekOrigin::kSet), 0u);
  EXPECT_EQ(write_to(*file, std::string(3 * kPageSize, 'y')), 3 * kPageSize) << "no new pages";
  EXPECT_EQ(file_system_status(root)->blocks_free, 0u);
  ASSERT_TRUE(as_node_file(*file)->truncate(0));
  EXPECT_EQ(file_system_status(root)->blocks_free, 4u);
  file.reset();
  ASSERT_EQ(write_file("other", std::string(2 * kPageSize, 'z')), 0);
  ASSERT_EQ(error_of(remove_file(context(), cwd, "other")), 0);
  EXPECT_EQ(file_system_status(root)->blocks_free, 4u);
}

TEST_F(TmpfsTest, LimitsItsInodes) {
  mount_with({.inodes = 4});
  EXPECT_EQ(write_file("a", ""), 0);
  EXPECT_EQ(make_dir("b"), 0);
  EXPECT_EQ(error_of(make_symlink(context(), "x", cwd, "c")), 0);
  EXPECT_EQ(write_file("d", ""), ENOSPC);
  ASSERT_EQ(error_of(remove_file(context(), cwd, "a")), 0);
  EXPECT_EQ(write_file("d", ""), 0);
}

TEST_F(TmpfsTest, HolesTakeNoMemory) {
  mount_with({});
  auto file = *open_at("sparse", OpenFlags::kReadWrite | OpenFlags::kCreate);
  ASSERT_TRUE(as_node_file(*file)->truncate(uint64_t{1} << 40));
  EXPECT_EQ(*file->seek(int64_t{1} << 39, SeekOrigin::kSet), uint64_t{1} << 39);
  EXPECT_EQ(write_to(*file, "x"), 1u);
  EXPECT_EQ(file->status()->size, uint64_t{1} << 40);
  EXPECT_EQ(file->status()->blocks_512, 8u);
  EXPECT_EQ(*file->seek(-2, SeekOrigin::kCurrent), (uint64_t{1} << 39) - 1);
  EXPECT_EQ(read_from(*file, 3), std::string("\0x\0", 3));
}

TEST_F(TmpfsTest, PunchesHoles) {
  mount_with({});
  ASSERT_EQ(write_file("file", std::string(3 * kPageSize, 'x')), 0);
  auto file = *open_at("file", OpenFlags::kReadWrite);
  static constexpr uint32_t kPunch = 2, kKeepSize = 1;
  EXPECT_TRUE(as_node_file(*file)->allocate(kPunch | kKeepSize, 100, 2 * kPageSize));
  std::string expected(3 * kPageSize, 'x');
  std::fill_n(expected.begin() + 100, 2 * kPageSize, '\0');
  EXPECT_TRUE(read_file("file") == expected);
  EXPECT_EQ(file->status()->blocks_512, 16u);
  EXPECT_EQ(error_of(as_node_file(*file)->allocate(8, 0, 1)), EOPNOTSUPP);
}

TEST_F(TmpfsTest, GivesAllMemoryBack) {
  size_t before = page_allocator::statistics().free_pages;
  mount_with({});
  ASSERT_EQ(make_dir("a"), 0);
  for (int i = 0; i < 50; ++i)
    ASSERT_EQ(write_file("a/" + std::to_string(i), std::string(20000, 'x')), 0);
  EXPECT_LT(page_allocator::statistics().free_pages + 200, before);
  unmount();
  EXPECT_LE(before - page_allocator::statistics().free_pages, 16u);
}

TEST_F(TmpfsTest, KeepsExtendedAttributes) {
  mount_with({});
  ASSERT_EQ(write_file("file", ""), 0);
  Path file = *resolve(context(), cwd, "file", LookupFlags::kNone);
  auto set = [&](std::string_view name, std::string_view value, XattrFlags flags) {
    return error_of(set_xattr(context(), file, name, bytes(value), flags));
  };
  EXPECT_EQ(set("user.a", "one", XattrFlags::kReplace), ENODATA);
  EXPECT_EQ(set("user.a", "one", XattrFlags::kCreate), 0);
  EXPECT_EQ(set("user.a", "two", XattrFlags::kCreate), EEXIST);
  EXPECT_EQ(set("user.b", "", XattrFlags::kNone), 0);
  EXPECT_EQ(set("trusted.t", "x", XattrFlags::kNone), 0);
  EXPECT_EQ(set("unknown.a", "", XattrFlags::kNone), EOPNOTSUPP);
  EXPECT_EQ(get_xattr(context(), file, "user.a")->size(), 3u);
  EXPECT_EQ(*list_xattrs(context(), file), std::string("trusted.t\0user.a\0user.b\0", 24));
  EXPECT_EQ(error_of(remove_xattr(context(), file, "user.a")), 0);
  EXPECT_EQ(error_of(remove_xattr(context(), file, "user.a")), ENODATA);
  identity = {.uid = 1000, .gid = 1000, .has_override = false};
  EXPECT_EQ(set("user.b", "x", XattrFlags::kNone), EACCES);
  EXPECT_EQ(set("trusted.t", "x", XattrFlags::kNone), EPERM);
  EXPECT_EQ(error_of(get_xattr(context(), file, "trusted.t")), ENODATA);
  EXPECT_EQ(*list_xattrs(context(), file), std::string("user.b\0", 7));
}

TEST_F(TmpfsTest, SealsMemoryFiles) {  // [memfd_create(2)]
  using Sealing = tmpfs::AnonymousFiles::Sealing;
  auto files = *tmpfs::AnonymousFiles::create();
  auto plain = *files->create_file("plain", 0777, identity, Sealing::kForbidden);
  EXPECT_EQ(plain->description(), "/memfd:plain (deleted)");
  EXPECT_EQ(error_of(as_node_file(*plain)->inode().add_seals(2)), EPERM);
  auto file = *files->create_file("sealed", 0777, identity, Sealing::kAllowed);
  EXPECT_EQ(write_to(*file, "0123456789"), 10u);
  Inode& inode = as_node_file(*file)->inode();
  static constexpr uint32_t kSeal = 1, kShrink = 2, kGrow = 4, kWrite = 8;
  EXPECT_TRUE(inode.add_seals(kShrink | kGrow));
  EXPECT_EQ(error_of(as_node_file(*file)->truncate(5)), EPERM);
  EXPECT_EQ(error_of(as_node_file(*file)->truncate(50)), EPERM);
  EXPECT_EQ(*file->seek(8, SeekOrigin::kSet), 8u);
  EXPECT_EQ(write_to(*file, "abcdef"), 2u) << "up to the end";
  EXPECT_TRUE(inode.add_seals(kWrite | kSeal));
  EXPECT_EQ(*file->seek(0, SeekOrigin::kSet), 0u);
  EXPECT_EQ(write_to(*file, "x"), 0u);
  EXPECT_EQ(read_from(*file), "01234567ab");
  EXPECT_EQ(error_of(inode.add_seals(kShrink)), EPERM);
  EXPECT_EQ(*inode.seals(), 15u);
}

TEST_F(TmpfsTest, ParsesMountOptions) {
  auto options = tmpfs::Tmpfs::parse_options("size=64m,mode=1755,,uid=7,nr_inodes=2k");
  ASSERT_TRUE(options);
  EXPECT_EQ(options->size, 64u << 20);
  EXPECT_EQ(options->mode, 01755u);
  EXPECT_EQ(options->uid, 7u);
  EXPECT_EQ(options->inodes, 2048u);
  EXPECT_TRUE(tmpfs::Tmpfs::parse_options(""));
  for (const char* bad : {"size=", "size=x", "mode=9", "colour=red", "size=99999999999999999999",
                          "uid=-1", "size=1kk"})
    EXPECT_EQ(error_of(tmpfs::Tmpfs::parse_options(bad)), EINVAL) << bad;
}

}  // namespace
}  // namespace aril::vfs
