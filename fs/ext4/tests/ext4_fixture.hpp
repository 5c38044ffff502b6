#pragma once
#include "../../vfs/tests/fs_fixture.hpp"
#include "../src/format.hpp"
#include "disk_image.hpp"
#include "fs/ext4/ext4.hpp"
#include "kernel/random/random.hpp"

namespace aril::vfs {

using ext4::check_image;
using ext4::Ext4;
using ext4::TestDisk;

/// A file system that mkfs.ext4 made, on a disk in memory.
class Ext4Test : public FsTest {
 protected:
  void SetUp() override {
    FsTest::SetUp();
    static const bool ready = (random::initialize(), true);
    (void)ready;
  }
  void TearDown() override { detach(); }

  void make(const std::string& size, const std::string& options = "") {
    std::vector<std::byte> image = ext4::make_image(size, options);
    if (image.empty()) GTEST_SKIP() << "no mkfs.ext4";
    attach(std::move(image));
  }
  void attach(std::vector<std::byte> image) {
    disk = std::make_unique<TestDisk>(std::move(image));
    mount_disk();
  }
  void mount_disk(Ext4::Access access = Ext4::Access::kReadWrite) {
    auto mounted = Ext4::mount(*disk, access);
    ASSERT_TRUE(mounted) << error_of(mounted);
    fs = *mounted;
    mount(fs);
  }
  void detach() {
    if (fs) EXPECT_EQ(error_of(fs->unmount()), 0);
    drop();
  }
  /// As if the machine had ended.
  void drop() {
    cwd = root = {};
    fs.reset();
    tree.emplace();
  }
  /// Unmounted, the image must satisfy e2fsck; then it is mounted again.
  void check_and_mount() {
    detach();
    EXPECT_EQ(check_image(disk->bytes()), "");
    mount_disk();
  }
  std::string debugfs(const std::string& command) {
    ext4::ImageFile file;
    file.store(disk->bytes());
    return ext4::run_command("debugfs -R '" + command + "' " + file.name()).second;
  }
  int write_at(std::string_view path, uint64_t offset, std::string_view text) {
    auto file = open_at(path, OpenFlags::kReadWrite | OpenFlags::kCreate);
    if (!file) return error_of(file);
    std::string copy(text);
    IoBuffer::Segment segment;
    auto buffer = IoBuffer::kernel(segment, std::as_writable_bytes(std::span(copy)));
    auto written = (*file)->write_at(buffer, offset);
    return written ? (*written == text.size() ? 0 : -1) : error_of(written);
  }
  int allocate(std::string_view path, uint32_t how, uint64_t offset, uint64_t length) {
    auto file = open_at(path, OpenFlags::kReadWrite | OpenFlags::kCreate);
    return file ? error_of(as_node_file(**file)->allocate(how, offset, length)) : error_of(file);
  }
  int truncate_to(std::string_view path, uint64_t size) {
    auto place = resolve(context(), cwd, path, LookupFlags::kFollow);
    return place ? error_of(truncate(context(), *place, size)) : error_of(place);
  }
  int sync(std::string_view path) {
    auto file = open_at(path, OpenFlags::kReadOnly);
    return file ? error_of((*file)->sync()) : error_of(file);
  }
  int move(std::string_view from, std::string_view to, RenameFlags flags = RenameFlags::kNone) {
    return error_of(vfs::rename(context(), cwd, from, cwd, to, flags));
  }
  int unlink(std::string_view path) { return error_of(remove_file(context(), cwd, path)); }
  int rmdir(std::string_view path) { return error_of(remove_directory(context(), cwd, path)); }
  std::set<std::string> names_of(std::string_view path) {
    NameCollector names = list(path);
    std::set<std::string> set;
    for (auto& [name, type] : names.names) {
      if (name != "." && name != "..") EXPECT_TRUE(set.insert(name).second) << name;
    }
    return set;
  }

  std::unique_ptr<TestDisk> disk;
  RefPtr<Ext4> fs;
};

inline std::string pattern(size_t size, unsigned seed = 1) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i)
    text[i] = static_cast<char>((i * 7 + i / 4096 * 13 + seed * 31) & 0xff);
  return text;
}

}  // namespace aril::vfs
