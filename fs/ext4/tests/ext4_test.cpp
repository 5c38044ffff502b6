#include "fs/ext4/ext4.hpp"

#include <map>
#include <set>

#include "ext4_fixture.hpp"
#include "kernel/vm/page_cache.hpp"

namespace aril::vfs {
namespace {

class Ext4Sizes : public Ext4Test, public ::testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(Blocks, Ext4Sizes,
                         ::testing::Values("-b 4096", "-b 1024", "-b 2048",
                                           "-b 4096 -O metadata_csum_seed,orphan_file",
                                           "-b 4096 -O ^metadata_csum", "-b 1024 -O ^64bit",
                                           "-b 4096 -O ^has_journal", "-b 4096 -I 128",
                                           "-b 1024 -O ^dir_index"));

TEST_P(Ext4Sizes, KeepsAFewFiles) {
  make("64M", GetParam());
  if (!fs) return;
  EXPECT_EQ(names_of("/"), std::set<std::string>{"lost+found"});
  for (size_t size : {0, 1, 100, 1024, 4095, 4096, 4097, 10000, 300000})
    EXPECT_EQ(write_file("size-" + std::to_string(size), pattern(size)), 0);
  EXPECT_EQ(make_dir("a"), 0);
  EXPECT_EQ(make_dir("a/b"), 0);
  EXPECT_EQ(write_file("a/b/file", "hello"), 0);
  EXPECT_EQ(error_of(make_symlink(context(), "b/file", cwd, "a/short")), 0);
  EXPECT_EQ(error_of(make_symlink(context(), std::string(900, 'x'), cwd, "a/long")), 0);
  EXPECT_EQ(error_of(make_node(context(), cwd, "fifo", mode::kFifo | 0640, 0)), 0);
  EXPECT_EQ(error_of(make_node(context(), cwd, "dev", mode::kCharDevice | 0600,
                               mode::make_device(300, 70000))),
            0);
  check_and_mount();
  for (size_t size : {0, 1, 100, 1024, 4095, 4096, 4097, 10000, 300000})
    EXPECT_EQ(read_file("size-" + std::to_string(size)), pattern(size));
  EXPECT_EQ(read_file("a/short"), "hello");
  EXPECT_EQ(*read_link(context(), cwd, "a/long"), std::string(900, 'x'));
  EXPECT_EQ(stat("a")->link_count, 3u);
  EXPECT_EQ(stat("dev")->special_device, mode::make_device(300, 70000));
  EXPECT_EQ(unlink("size-300000"), 0);
  EXPECT_EQ(rmdir("a/b"), ENOTEMPTY);
  EXPECT_EQ(unlink("a/b/file"), 0);
  EXPECT_EQ(rmdir("a/b"), 0);
  EXPECT_EQ(move("size-100", "a/moved"), 0);
  EXPECT_EQ(truncate_to("size-10000", 5000), 0);
  check_and_mount();
  EXPECT_EQ(stat("a")->link_count, 2u);
  EXPECT_EQ(read_file("a/moved"), pattern(100));
  EXPECT_EQ(read_file("size-10000"), pattern(10000).substr(0, 5000));
  EXPECT_EQ(error_of(stat("size-300000")), ENOENT);
}

TEST_P(Ext4Sizes, GrowsLargeDirectories) {
  make("64M", GetParam());
  if (!fs) return;
  std::set<std::string> expected;
  ASSERT_EQ(make_dir("d"), 0);
  constexpr int kFiles = 3000;
  for (int i = 0; i < kFiles; ++i) {
    std::string name = "some-name-that-is-a-little-long-" + std::to_string(i * 7919);
    ASSERT_EQ(write_file("d/" + name, ""), 0) << i;
    expected.insert(name);
  }
  EXPECT_EQ(names_of("d"), expected);
  check_and_mount();
  EXPECT_EQ(names_of("d"), expected);
  for (const std::string& name : expected) ASSERT_TRUE(stat("d/" + name)) << name;
  EXPECT_EQ(error_of(stat("d/other")), ENOENT);
  for (auto it = expected.begin(); it != expected.end();) {
    if (std::hash<std::string>()(*it) % 3 != 0) {
      ++it;
      continue;
    }
    ASSERT_EQ(unlink("d/" + *it), 0);
    it = expected.erase(it);
  }
  check_and_mount();
  EXPECT_EQ(names_of("d"), expected);
  for (const std::string& name : expected) ASSERT_EQ(unlink("d/" + name), 0);
  EXPECT_EQ(rmdir("d"), 0);
  check_and_mount();
}

TEST_P(Ext4Sizes, ScatteredWritesMakeDeepTrees) {
  make("64M", GetParam());
  if (!fs) return;
  constexpr uint64_t kStep = 16384;
  for (int i = 0; i < 1500; ++i)
    ASSERT_EQ(write_at("sparse", (i * 613 % 1500) * kStep, pattern(4096, i)), 0) << i;
  check_and_mount();
  EXPECT_EQ(stat("sparse")->size, 1499 * kStep + 4096);
  EXPECT_LT(stat("sparse")->blocks_512, 1500 * 8 + 400u);
  auto file = open_at("sparse", OpenFlags::kReadOnly);
  for (int i = 0; i < 1500; ++i) {
    uint64_t at = i * 613 % 1500 * kStep;
    std::string text(8192, 'x');
    IoBuffer::Segment segment;
    auto buffer = IoBuffer::kernel(segment, std::as_writable_bytes(std::span(text)));
    size_t count = *(*file)->read_at(buffer, at);
    ASSERT_EQ(text.substr(0, 4096), pattern(4096, i)) << i;
    ASSERT_EQ(text.substr(4096, count - 4096), std::string(count - 4096, '\0')) << i;
  }
  file->reset();
  EXPECT_EQ(allocate("sparse", 3, 100 * kStep + 5, 1000 * kStep), 0);
  EXPECT_EQ(write_at("sparse", 500 * kStep, "back"), 0);
  check_and_mount();
  EXPECT_EQ(truncate_to("sparse", 3), 0);
  check_and_mount();
  EXPECT_EQ(read_file("sparse"), pattern(4096, 0).substr(0, 3));
  EXPECT_EQ(unlink("sparse"), 0);
  check_and_mount();
}

TEST_F(Ext4Test, FallocateReservesAndReadsAsZeroes) {
  make("64M", "-b 4096");
  if (!fs) return;
  EXPECT_EQ(allocate("file", 0, 0, 1 << 20), 0);
  EXPECT_EQ(stat("file")->size, 1u << 20);
  EXPECT_GE(stat("file")->blocks_512, 2048u);
  EXPECT_EQ(read_file("file"), std::string(1 << 20, '\0'));
  EXPECT_EQ(write_at("file", 100'000, pattern(50'000)), 0);
  EXPECT_EQ(allocate("file", 1, 2 << 20, 4096), 0);
  check_and_mount();
  EXPECT_EQ(stat("file")->size, 1u << 20);
  EXPECT_EQ(read_file("file").substr(99'990, 50'020),
            std::string(10, '\0') + pattern(50'000) + std::string(10, '\0'));
  EXPECT_EQ(allocate("file", 0x10, 120'000, 10'000), 0);
  check_and_mount();
  EXPECT_EQ(read_file("file").substr(119'000, 12'000), pattern(50'000).substr(19'000, 1000) +
                                                           std::string(10'000, '\0') +
                                                           pattern(50'000).substr(30'000, 1000));
}

TEST_F(Ext4Test, UnlinkedFilesLiveWhileOpen) {
  make("64M", "-b 4096");
  if (!fs) return;
  uint64_t free_before = fs->status().blocks_free;
  {
    auto file = open_at("file", OpenFlags::kReadWrite | OpenFlags::kCreate);
    ASSERT_TRUE(file);
    EXPECT_EQ(write_to(**file, pattern(100'000)), 100'000u);
    EXPECT_EQ(unlink("file"), 0);
    ASSERT_TRUE((*file)->seek(0, SeekOrigin::kSet));
    EXPECT_EQ(read_from(**file), pattern(100'000));
    EXPECT_EQ(error_of((*file)->sync()), 0);
    EXPECT_LT(fs->status().blocks_free, free_before);
  }
  EXPECT_EQ(fs->status().blocks_free, free_before);
  check_and_mount();
  // The machine ends while they are open: the next mount deletes them.
  disk->records = true;
  auto one = open_at("one", OpenFlags::kReadWrite | OpenFlags::kCreate);
  auto two = open_at("two", OpenFlags::kReadWrite | OpenFlags::kCreate);
  EXPECT_EQ(write_to(**one, pattern(50'000)), 50'000u);
  EXPECT_EQ(write_to(**two, pattern(50'000)), 50'000u);
  EXPECT_EQ(unlink("one"), 0);
  EXPECT_EQ(unlink("two"), 0);
  EXPECT_EQ(error_of((*one)->sync()), 0);
  EXPECT_EQ(error_of((*two)->sync()), 0);
  std::vector<std::byte> crashed = disk->bytes();
  one->reset();
  two->reset();
  detach();
  attach(crashed);
  EXPECT_EQ(fs->status().blocks_free, free_before);
  check_and_mount();
}

TEST_F(Ext4Test, RenamesAsLinuxDoes) {
  make("64M", "-b 1024");
  if (!fs) return;
  for (const char* name : {"a", "b", "c"}) EXPECT_EQ(make_dir(name), 0);
  EXPECT_EQ(make_dir("a/sub"), 0);
  EXPECT_EQ(write_file("a/file", "1"), 0);
  EXPECT_EQ(write_file("b/file", "2"), 0);
  EXPECT_EQ(move("a/file", "b/file"), 0);
  EXPECT_EQ(read_file("b/file"), "1");
  EXPECT_EQ(move("a/sub", "b/sub"), 0);
  EXPECT_EQ(stat("a")->link_count, 2u);
  EXPECT_EQ(stat("b")->link_count, 3u);
  EXPECT_EQ(move("c", "b/sub"), 0);  // replaces an empty directory
  EXPECT_EQ(move("a", "b"), ENOTEMPTY);
  EXPECT_EQ(make_dir("d"), 0);
  EXPECT_EQ(write_file("d/x", "x"), 0);
  EXPECT_EQ(move("d", "b/file", RenameFlags::kExchange), 0);
  EXPECT_EQ(read_file("d"), "1");
  EXPECT_EQ(read_file("b/file/x"), "x");
  EXPECT_EQ(stat("b")->link_count, 4u);
  check_and_mount();
  EXPECT_EQ(names_of("b"), (std::set<std::string>{"file", "sub"}));
  EXPECT_EQ(read_file("b/file/x"), "x");
}

TEST_F(Ext4Test, KeepsAttributes) {
  make("64M");
  if (!fs) return;
  EXPECT_EQ(write_file("file", "x"), 0);
  auto place = [&](const char* name) {
    return *resolve(context(), cwd, name, LookupFlags::kFollow);
  };
  EXPECT_EQ(error_of(change_mode(context(), place("file"), 04751)), 0);
  EXPECT_EQ(error_of(change_owner(context(), place("file"), 100'000, 70'000)), 0);
  constexpr int64_t kFar = 5'000'000'000'123'456'789;
  EXPECT_EQ(error_of(change_times(context(), place("file"), {TimeChange::Kind::kSet, -1},
                                  {TimeChange::Kind::kSet, kFar})),
            0);
  std::map<std::string, std::string> attributes = {
      {"user.small", "value"}, {"user.empty", ""}, {"trusted.large", std::string(800, 'v')}};
  for (auto& [name, value] : attributes)
    EXPECT_EQ(error_of(set_xattr(context(), place("file"), name, std::as_bytes(std::span(value)),
                                 XattrFlags::kNone)),
              0)
        << name;
  check_and_mount();
  auto status = *stat("file");
  EXPECT_EQ(status.mode & 07777, 0751u);  // chown took the set-user-ID bit
  EXPECT_EQ(status.uid, 100'000u);
  EXPECT_EQ(status.gid, 70'000u);
  EXPECT_EQ(status.modify_ns, kFar);
  EXPECT_EQ(status.access_ns, -1);
  EXPECT_NE(status.birth_ns, 0);
  for (auto& [name, value] : attributes) {
    auto got = get_xattr(context(), place("file"), name);
    ASSERT_TRUE(got) << name;
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(got->data()), got->size()), value);
  }
  EXPECT_EQ(error_of(remove_xattr(context(), place("file"), "trusted.large")), 0);
  EXPECT_EQ(error_of(get_xattr(context(), place("file"), "trusted.large")), ENODATA);
  check_and_mount();
  EXPECT_EQ(unlink("file"), 0);
  check_and_mount();
}

TEST_F(Ext4Test, FillsUpAndRecovers) {
  make("16M", "-b 1024");
  if (!fs) return;
  uint64_t free_before = fs->status().blocks_free;
  int last = 0, files = 0;
  for (; files < 100 && last == 0; ++files) {
    last = write_file("file-" + std::to_string(files), pattern(400'000, files));
    if (last == 0) EXPECT_EQ(sync("file-" + std::to_string(files)), 0);
  }
  EXPECT_TRUE(last == ENOSPC || last == -1) << last;
  EXPECT_EQ(error_of(fs->sync()), 0);
  check_and_mount();
  for (int i = 0; i < files - 1; ++i) {
    std::string text = read_file("file-" + std::to_string(i));
    EXPECT_TRUE(text == pattern(400'000, i)) << i << " of " << files << ", " << text.size();
  }
  for (int i = 0; i < files; ++i) EXPECT_EQ(unlink("file-" + std::to_string(i)), 0);
  EXPECT_EQ(write_at("again", 0, pattern(5'000'000)), 0) << fs->status().blocks_free;
  check_and_mount();
  EXPECT_TRUE(read_file("again", 6'000'000) == pattern(5'000'000));
  EXPECT_EQ(unlink("again"), 0);
  EXPECT_NEAR(fs->status().blocks_free, free_before, 8);  // the root directory has grown
  // No inodes left is ENOSPC too.
  ASSERT_EQ(make_dir("many"), 0);
  int error = 0;
  for (int i = 0; i < 10'000 && error == 0; ++i)
    error = write_file("many/" + std::to_string(i), "");
  EXPECT_EQ(error, ENOSPC);
  check_and_mount();
}

TEST_F(Ext4Test, ReadsWhatLinuxToolsWrote) {
  ext4::ImageFile file;
  namespace fs_ = std::filesystem;
  char directory[] = "/tmp/aril-ext4-tree-XXXXXX";
  ASSERT_NE(mkdtemp(directory), nullptr);
  fs_::path top = directory;
  for (int i = 0; i < 2000; ++i) {
    fs_::create_directories(top / "many");
    std::ofstream(top / "many" / ("name-" + std::to_string(i) + "-\xe4\xf6")) << i;
  }
  std::ofstream(top / "large") << pattern(3'000'000);
  for (const char* options : {"-b 4096", "-b 1024"}) {
    auto made = ext4::make_image("64M", std::string(options) + " -d " + directory);
    if (made.empty()) break;
    attach(std::move(made));
    EXPECT_EQ(read_file("large", 4'000'000), pattern(3'000'000));
    EXPECT_EQ(names_of("many").size(), 2000u);
    for (int i = 0; i < 2000; ++i)
      EXPECT_EQ(read_file("many/name-" + std::to_string(i) + "-\xe4\xf6"), std::to_string(i));
    EXPECT_EQ(write_file("many/one-more", "x"), 0);
    check_and_mount();
    EXPECT_EQ(read_file("many/one-more"), "x");
    detach();
  }
  fs_::remove_all(top);
}

TEST_F(Ext4Test, WrapsItsJournal) {
  make("32M", "-b 1024 -J size=1");
  if (!fs) return;
  for (int i = 0; i < 400; ++i) {
    std::string name = "d" + std::to_string(i);
    ASSERT_EQ(make_dir(name), 0);
    ASSERT_EQ(write_file(name + "/f", pattern(3000, i)), 0);
    ASSERT_EQ(sync(name + "/f"), 0);
    if (i >= 50) {
      std::string old = "d" + std::to_string(i - 50);
      ASSERT_EQ(unlink(old + "/f"), 0);
      ASSERT_EQ(rmdir(old), 0);
    }
  }
  check_and_mount();
  EXPECT_EQ(names_of("/").size(), 51u);
}

TEST_F(Ext4Test, RefusesWhatItDoesNotServe) {
  auto mounts = [&](const std::string& options) {
    auto image = ext4::make_image("64M", options);
    if (image.empty()) return -1;
    TestDisk other(std::move(image));
    return error_of(Ext4::mount(other, Ext4::Access::kReadWrite));
  };
  if (mounts("") != 0) GTEST_SKIP() << "no mkfs.ext4";
  for (const char* feature : {"bigalloc", "casefold", "inline_data", "encrypt", "quota", "mmp"})
    EXPECT_EQ(mounts(std::string("-O ") + feature), EOPNOTSUPP) << feature;
  EXPECT_EQ(mounts("-O ^extent,^64bit"), EOPNOTSUPP);
  TestDisk empty(std::vector<std::byte>(1 << 20));
  EXPECT_EQ(error_of(Ext4::mount(empty, Ext4::Access::kReadWrite)), EINVAL);
  TestDisk tiny(std::vector<std::byte>(4096));
  EXPECT_EQ(error_of(Ext4::mount(tiny, Ext4::Access::kReadWrite)), EINVAL);
}

TEST_F(Ext4Test, ReadOnlyDisksAreRead) {
  make("64M");
  if (!fs) return;
  EXPECT_EQ(write_file("file", "x"), 0);
  std::vector<std::byte> dirty;
  EXPECT_EQ(sync("file"), 0);
  dirty = disk->bytes();
  detach();
  disk->read_only = true;
  mount_disk();
  EXPECT_EQ(read_file("file"), "x");
  EXPECT_EQ(write_file("file", "y"), EROFS);
  EXPECT_EQ(unlink("file"), EROFS);
  detach();
  // A journal that must be replayed first.
  TestDisk other(dirty);
  other.read_only = true;
  EXPECT_EQ(error_of(Ext4::mount(other, Ext4::Access::kReadOnly)), EROFS);
}

TEST_F(Ext4Test, SharedMappingsAreWrittenBack) {
  make("64M");
  if (!fs) return;
  EXPECT_EQ(write_file("file", pattern(20'000)), 0);
  {
    auto file = open_at("file", OpenFlags::kReadWrite);
    RefPtr<MemoryObject> object = *(*file)->memory_object();
    EXPECT_EQ(unlink("file"), 0);
    file->reset();
    // The mapping keeps the deleted file.
    auto page = object->page(1, PageAccess::kWrite);
    ASSERT_TRUE(page);
    EXPECT_EQ((*page)->data()[5], std::byte(pattern(20'000)[4101]));
    EXPECT_TRUE(object->write_back());
    page->reset();
  }
  EXPECT_EQ(write_file("second", pattern(20'000)), 0);
  auto file = open_at("second", OpenFlags::kReadWrite);
  {
    RefPtr<MemoryObject> object = *(*file)->memory_object();
    auto page = object->page(4, PageAccess::kWrite);
    (*page)->data()[0] = std::byte{'M'};
    (*page)->data()[4000] = std::byte{'Z'};  // past the end: not for the disk
    EXPECT_TRUE(object->write_back());
  }
  file->reset();
  std::vector<std::byte> now = disk->bytes();
  drop();
  attach(now);
  EXPECT_EQ(read_file("second").substr(16'384), "M" + pattern(20'000).substr(16'385));
  EXPECT_EQ(truncate_to("second", 24'576), 0);
  EXPECT_EQ(read_file("second").substr(20'000), std::string(4576, '\0'));
}

}  // namespace
}  // namespace aril::vfs
