#include "fs/tmpfs/tmpfs.hpp"
#include "fs/vfs/devices.hpp"
#include "fs_fixture.hpp"

namespace aril::vfs {
namespace {

constexpr OpenFlags kCreateNew = OpenFlags::kReadWrite | OpenFlags::kCreate | OpenFlags::kExclusive;

class VfsTest : public FsTest {
 protected:
  void SetUp() override {
    FsTest::SetUp();
    mount(*tmpfs::Tmpfs::create({.inodes = 100000, .mode = 0755}));
  }
  Path at(std::string_view path) { return *resolve(context(), cwd, path, LookupFlags::kNone); }
  std::string text_of(const Path& path) { return absolute_path(*tree, path, root); }
  Path mount_at(std::string_view path, MountFlags flags = MountFlags::kNone) {
    return *tree->mount(at(path), *tmpfs::Tmpfs::create({.mode = 0755}), "none", flags);
  }
};

TEST_F(VfsTest, CrossesMountsBothWays) {
  ASSERT_EQ(make_dir("mnt"), 0);
  ASSERT_EQ(write_file("mnt/hidden", "x"), 0);
  mount_at("mnt");
  EXPECT_EQ(error_of(stat("mnt/hidden")), ENOENT);
  ASSERT_EQ(make_dir("mnt/dir"), 0);
  EXPECT_EQ(text_of(at("mnt/dir")), "/mnt/dir");
  EXPECT_EQ(at("mnt/dir/.."), at("mnt"));
  EXPECT_EQ(at("mnt/dir/../.."), root);
  EXPECT_EQ(at("mnt/../mnt/dir"), at("mnt/dir"));
  EXPECT_NE(stat("mnt")->device, stat("/")->device);
}

TEST_F(VfsTest, StacksMountsAndTakesThemOff) {
  ASSERT_EQ(make_dir("mnt"), 0);
  mount_at("mnt");
  ASSERT_EQ(write_file("mnt/first", ""), 0);
  Path second = mount_at("mnt");
  EXPECT_EQ(error_of(stat("mnt/first")), ENOENT);
  EXPECT_EQ(error_of(tree->unmount(second)), 0);
  EXPECT_TRUE(stat("mnt/first"));
  ASSERT_EQ(make_dir("mnt/below"), 0);
  mount_at("mnt/below");
  EXPECT_EQ(error_of(tree->unmount(at("mnt"))), EBUSY);
  EXPECT_EQ(error_of(tree->unmount(at("mnt/below"))), 0);
  EXPECT_EQ(error_of(tree->unmount(at("mnt"))), 0);
  EXPECT_EQ(error_of(tree->unmount(root)), EINVAL);
}

TEST_F(VfsTest, BindShowsASubtreeTwice) {
  ASSERT_EQ(make_dir("a"), 0);
  ASSERT_EQ(make_dir("a/b"), 0);
  ASSERT_EQ(make_dir("c"), 0);
  ASSERT_TRUE(tree->bind(at("c"), at("a/b"), MountFlags::kNone));
  ASSERT_EQ(write_file("c/file", "text"), 0);
  EXPECT_EQ(read_file("a/b/file"), "text");
  EXPECT_EQ(text_of(at("c/file")), "/c/file");
  EXPECT_EQ(at("c/.."), root);
  EXPECT_EQ(error_of(rename(context(), cwd, "c/file", cwd, "a/b/other", RenameFlags::kNone)),
            EXDEV);
  auto views = tree->list(root);
  ASSERT_EQ(views.size(), 2u);
  EXPECT_EQ(views[1].root, "/a/b");
  EXPECT_EQ(views[1].mount_point, "/c");
}

TEST_F(VfsTest, ReadOnlyMountsRefuseChanges) {
  ASSERT_EQ(make_dir("mnt"), 0);
  mount_at("mnt");
  ASSERT_EQ(write_file("mnt/file", "x"), 0);
  ASSERT_TRUE(tree->remount(at("mnt"), MountFlags::kReadOnly));
  EXPECT_EQ(write_file("mnt/file", "y"), EROFS);
  EXPECT_EQ(make_dir("mnt/dir"), EROFS);
  EXPECT_EQ(make_dir("mnt/file"), EEXIST) << "what exists comes first";
  EXPECT_EQ(error_of(remove_file(context(), cwd, "mnt/file")), EROFS);
  EXPECT_EQ(error_of(change_mode(context(), at("mnt/file"), 0600)), EROFS);
  EXPECT_EQ(error_of(access(context(), at("mnt/file"), Access::kWrite)), EROFS);
  EXPECT_EQ(read_file("mnt/file"), "x");
}

TEST_F(VfsTest, MakesAFileSystemWhenSomebodyGoesThere) {
  ASSERT_EQ(make_dir("lazy"), 0);
  ASSERT_EQ(make_dir("never"), 0);
  int made = 0, completed = 0;
  bool fails = true;
  OnDemand on_demand{.make = [&]() -> Result<RefPtr<FileSystem>> {
                       if (fails) return fail(Errno::kNoMem);
                       ++made;
                       return tmpfs::Tmpfs::create({});
                     },
                     .made =
                         [&] {
                           // What belongs inside is mounted before anybody else gets in.
                           ++completed;
                           EXPECT_EQ(make_dir("lazy/inner"), 0);
                           EXPECT_TRUE(tree->mount(at("lazy/inner"), *tmpfs::Tmpfs::create({}),
                                                   "inner", MountFlags::kNone));
                         }};
  ASSERT_TRUE(tree->mount_on_demand(at("lazy"), on_demand, "lazy", MountFlags::kNone));
  ASSERT_TRUE(tree->mount_on_demand(at("never"),
                                    {.make = [] { return fail(Errno::kNoMem); }, .made = {}},
                                    "never", MountFlags::kNone));
  tree->sync_all();
  EXPECT_EQ(made, 0);
  // Without memory the place is as if nothing were mounted; the next lookup tries again.
  EXPECT_EQ(error_of(stat("lazy/inner")), ENOENT);
  fails = false;
  EXPECT_EQ(write_file("lazy/inner/file", "text"), 0);
  EXPECT_EQ(read_file("lazy/inner/file"), "text");
  EXPECT_EQ(made, 1);
  EXPECT_EQ(completed, 1);
  std::vector<std::string> places;
  for (const MountTree::View& view : tree->list(root)) places.push_back(view.mount_point);
  EXPECT_EQ(places, (std::vector<std::string>{"/", "/lazy", "/lazy/inner"}));
  EXPECT_EQ(error_of(tree->unmount(at("lazy"))), EBUSY);
}

TEST_F(VfsTest, ListingMountsMakesThem) {
  ASSERT_EQ(make_dir("lazy"), 0);
  ASSERT_TRUE(tree->mount_on_demand(
      at("lazy"),
      {.make = []() -> Result<RefPtr<FileSystem>> { return tmpfs::Tmpfs::create({}); }, .made = {}},
      "lazy", MountFlags::kNone));
  EXPECT_EQ(tree->list(root).size(), 2u);
  EXPECT_EQ(error_of(tree->unmount(at("lazy"))), 0);
}

TEST_F(VfsTest, MountsMayGoWhileTheyAreListed) {
  for (const char* name : {"a", "b", "lazy"}) ASSERT_EQ(make_dir(name), 0);
  Path a = mount_at("a"), b = mount_at("b");
  auto make = [&]() -> Result<RefPtr<FileSystem>> {
    EXPECT_EQ(error_of(tree->unmount(a)), 0);
    EXPECT_EQ(error_of(tree->unmount(b)), 0);
    return tmpfs::Tmpfs::create({});
  };
  ASSERT_TRUE(
      tree->mount_on_demand(at("lazy"), {.make = make, .made = {}}, "lazy", MountFlags::kNone));
  EXPECT_EQ(tree->list(root).size(), 2u);
}

TEST_F(VfsTest, MountPointsAreBusy) {
  ASSERT_EQ(make_dir("mnt"), 0);
  mount_at("mnt");
  EXPECT_EQ(error_of(remove_directory(context(), cwd, "mnt")), EBUSY);
  EXPECT_EQ(error_of(rename(context(), cwd, "mnt", cwd, "other", RenameFlags::kNone)), EBUSY);
}

TEST_F(VfsTest, TellsPathsOfDeletedAndUnreachablePlaces) {
  ASSERT_EQ(make_dir("a"), 0);
  ASSERT_EQ(make_dir("a/b"), 0);
  Path place = at("a/b");
  EXPECT_EQ(absolute_path(*tree, place, at("a")), "/b");
  EXPECT_EQ(absolute_path(*tree, root, at("a")), "(unreachable)/");
  ASSERT_EQ(error_of(remove_directory(context(), cwd, "a/b")), 0);
  EXPECT_EQ(text_of(place), "/a/b (deleted)");
  EXPECT_EQ(error_of(make_directory(context(), place, "c", 0755)), ENOENT);
  EXPECT_EQ(error_of(vfs::open(context(), place, "c", kCreateNew, 0644)), ENOENT);
}

TEST_F(VfsTest, RenamedDirectoriesTakeTheirPathsAlong) {
  ASSERT_EQ(make_dir("a"), 0);
  ASSERT_EQ(make_dir("a/b"), 0);
  Path place = at("a/b");
  ASSERT_EQ(error_of(rename(context(), cwd, "a", cwd, "z", RenameFlags::kNone)), 0);
  EXPECT_EQ(text_of(place), "/z/b");
  EXPECT_EQ(at("z/b"), place);
}

TEST_F(VfsTest, FollowsFortyLinksAndNoMore) {
  ASSERT_EQ(write_file("link0", "end"), 0);
  for (int i = 1; i <= 41; ++i) {
    std::string target = "link" + std::to_string(i - 1);
    ASSERT_EQ(error_of(make_symlink(context(), target, cwd, "link" + std::to_string(i))), 0);
  }
  EXPECT_EQ(read_file("link40"), "end");
  EXPECT_EQ(error_of(stat("link41")), ELOOP);
}

TEST_F(VfsTest, ConfinesResolution) {  // [openat2(2)]
  ASSERT_EQ(make_dir("jail"), 0);
  ASSERT_EQ(make_dir("jail/dir"), 0);
  ASSERT_EQ(write_file("secret", "s"), 0);
  ASSERT_EQ(write_file("jail/secret", "jailed"), 0);
  ASSERT_EQ(error_of(make_symlink(context(), "/secret", cwd, "jail/absolute")), 0);
  ASSERT_EQ(error_of(make_symlink(context(), "../../secret", cwd, "jail/dir/up")), 0);
  Path jail = at("jail");
  auto find = [&](std::string_view name, LookupFlags flags) {
    return resolve(context(), jail, name, flags | LookupFlags::kFollow);
  };
  EXPECT_EQ(error_of(find("../secret", LookupFlags::kBeneath)), EXDEV);
  EXPECT_EQ(error_of(find("/secret", LookupFlags::kBeneath)), EXDEV);
  EXPECT_EQ(error_of(find("absolute", LookupFlags::kBeneath)), EXDEV);
  EXPECT_EQ(error_of(find("dir/up", LookupFlags::kBeneath)), EXDEV);
  EXPECT_TRUE(find("dir/../secret", LookupFlags::kBeneath));
  for (std::string_view name : {"/secret", "../secret", "absolute", "dir/up"}) {
    auto found = find(name, LookupFlags::kInRoot);
    ASSERT_TRUE(found) << name;
    EXPECT_EQ(*found, at("jail/secret")) << name;
  }
  EXPECT_EQ(error_of(find("absolute", LookupFlags::kNoSymlinks)), ELOOP);
  mount_at("jail/dir");
  EXPECT_EQ(error_of(find("dir", LookupFlags::kNoCrossing)), EXDEV);
  EXPECT_EQ(error_of(find("dir/..", LookupFlags::kNoCrossing)), EXDEV);
}

TEST_F(VfsTest, EmptyPathMeansTheStart) {
  EXPECT_EQ(error_of(resolve(context(), root, "", LookupFlags::kNone)), ENOENT);
  auto found = resolve(context(), root, "", LookupFlags::kEmptyPath);
  ASSERT_TRUE(found);
  EXPECT_EQ(*found, root);
}

TEST_F(VfsTest, UnnamedFilesCanGetAName) {
  auto file = open_at(".", OpenFlags::kTmpFile | OpenFlags::kReadWrite, 0600);
  ASSERT_TRUE(file);
  EXPECT_EQ((*file)->status()->link_count, 0u);
  EXPECT_EQ(write_to(**file, "data"), 4u);
  EXPECT_EQ(list("/").names.size(), 2u);
  ASSERT_EQ(error_of(make_link(context(), *path_of(**file), cwd, "named")), 0);
  EXPECT_EQ(read_file("named"), "data");
  EXPECT_EQ((*file)->status()->link_count, 1u);
  EXPECT_EQ(error_of(open_at(".", OpenFlags::kTmpFile | OpenFlags::kReadOnly)), EINVAL);
}

TEST_F(VfsTest, UnlinkedFilesLiveUntilClosed) {
  ASSERT_EQ(write_file("file", "data"), 0);
  auto file = open_at("file", OpenFlags::kReadOnly);
  ASSERT_EQ(error_of(remove_file(context(), cwd, "file")), 0);
  EXPECT_EQ(read_from(**file), "data");
  EXPECT_EQ((*file)->description(), "/file (deleted)");
  EXPECT_EQ((*file)->status()->link_count, 0u);
  EXPECT_EQ(error_of(make_link(context(), *path_of(**file), cwd, "again")), ENOENT);
}

TEST_F(VfsTest, PathOnlyFilesDoNothing) {
  ASSERT_EQ(write_file("file", "data"), 0);
  auto file = open_at("file", OpenFlags::kPath);
  ASSERT_TRUE(file);
  EXPECT_EQ(error_of((*file)->seek(0, SeekOrigin::kSet)), EBADF);
  EXPECT_FALSE((*file)->is_readable());
  EXPECT_EQ((*file)->status()->size, 4u);
  ASSERT_NE(path_of(**file), nullptr);
}

TEST_F(VfsTest, AppendsWhereverThePositionIs) {
  ASSERT_EQ(write_file("file", "first"), 0);
  auto file = open_at("file", OpenFlags::kReadWrite | OpenFlags::kAppend);
  ASSERT_TRUE(file);
  EXPECT_EQ(*(*file)->seek(0, SeekOrigin::kSet), 0u);
  EXPECT_EQ(write_to(**file, "-second"), 7u);
  EXPECT_EQ(*(*file)->seek(0, SeekOrigin::kCurrent), 12u);
  EXPECT_EQ(read_file("file"), "first-second");
}

TEST_F(VfsTest, SeeksAsLseek) {
  ASSERT_EQ(write_file("file", "0123456789"), 0);
  auto file = *open_at("file", OpenFlags::kReadOnly);
  EXPECT_EQ(*file->seek(-3, SeekOrigin::kEnd), 7u);
  EXPECT_EQ(read_from(*file), "789");
  EXPECT_EQ(error_of(file->seek(-11, SeekOrigin::kEnd)), EINVAL);
  EXPECT_EQ(error_of(file->seek(std::numeric_limits<int64_t>::max(), SeekOrigin::kEnd)), EOVERFLOW);
  EXPECT_EQ(*file->seek(100, SeekOrigin::kSet), 100u);
  EXPECT_EQ(read_from(*file), "");
  EXPECT_EQ(*file->seek(3, SeekOrigin::kData), 3u);
  EXPECT_EQ(*file->seek(3, SeekOrigin::kHole), 10u);
  EXPECT_EQ(error_of(file->seek(10, SeekOrigin::kData)), ENXIO);
}

TEST_F(VfsTest, ListsEachNameOnceWhateverTheBuffer) {
  for (int i = 0; i < 100; ++i) ASSERT_EQ(write_file("file" + std::to_string(i), ""), 0);
  for (size_t limit : {1, 3, 7, 50}) {
    auto file = *open_at(".", OpenFlags::kReadOnly | OpenFlags::kDirectory);
    std::multimap<std::string, uint8_t> all;
    for (;;) {
      NameCollector piece;
      piece.limit = limit;
      ASSERT_TRUE(as_node_file(*file)->read_directory(piece));
      if (piece.names.empty()) break;
      all.insert(piece.names.begin(), piece.names.end());
    }
    EXPECT_EQ(all.size(), 102u);
    for (const auto& [name, type] : all) EXPECT_EQ(all.count(name), 1u);
  }
}

TEST_F(VfsTest, RemovingWhileListingLosesNothing) {  // rm -r
  for (int i = 0; i < 50; ++i) ASSERT_EQ(write_file("file" + std::to_string(i), ""), 0);
  auto file = *open_at(".", OpenFlags::kReadOnly | OpenFlags::kDirectory);
  for (;;) {
    NameCollector piece;
    piece.limit = 5;
    ASSERT_TRUE(as_node_file(*file)->read_directory(piece));
    if (piece.names.empty()) break;
    for (const std::string& name : piece.order)
      if (name != "." && name != "..") EXPECT_EQ(error_of(remove_file(context(), cwd, name)), 0);
  }
  EXPECT_EQ(list("/").names.size(), 2u);
}

TEST_F(VfsTest, RemovedDirectoriesOfAnyDepthGoWithoutRecursion) {
  static constexpr int kDepth = 20000;
  std::vector<Path> places{root};
  for (int i = 0; i < kDepth; ++i) {
    auto made = make_directory(context(), places.back(), "d", 0755);
    ASSERT_TRUE(made);
    places.push_back(*made);
  }
  Path deepest = places.back();
  for (int i = kDepth; i > 0; --i) {
    places.pop_back();
    ASSERT_EQ(error_of(remove_directory(context(), places.back(), "d")), 0);
  }
  places.clear();
  deepest = {};
}

TEST_F(VfsTest, ManyNamesDoNotFillMemory) {
  for (int i = 0; i < 20000; ++i) EXPECT_EQ(error_of(stat("absent" + std::to_string(i))), ENOENT);
  for (int i = 0; i < 12000; ++i) {
    auto made = make_node(context(), cwd, "n" + std::to_string(i), mode::kRegular | 0600, 0);
    ASSERT_TRUE(made) << i;
  }
  EXPECT_TRUE(stat("n0"));
  EXPECT_TRUE(stat("n11999"));
  root.mount().file_system().dentries().shrink();
  EXPECT_TRUE(stat("n5000"));
}

TEST_F(VfsTest, NamesThatAreLookedForStay) {
  DentryCache& names = root.mount().file_system().dentries();
  EXPECT_EQ(error_of(stat("wanted")), ENOENT);
  EXPECT_EQ(error_of(stat("once")), ENOENT);
  for (int i = 0; i < 20000; ++i) {
    EXPECT_EQ(error_of(stat("absent" + std::to_string(i))), ENOENT);
    ASSERT_TRUE(names.find(root.dentry(), "wanted")) << i;
  }
  EXPECT_FALSE(names.find(root.dentry(), "once"));
}

class TestFile final : public NodeFile {
 public:
  using NodeFile::NodeFile;
};

TEST_F(VfsTest, OpensSpecialFilesThroughTheirServers) {
  static constexpr uint32_t kMajor = 240;
  register_char_device(kMajor, kAnyMinor, [](const Path& path, OpenFlags flags) {
    return Result<RefPtr<File>>(*try_make_ref<TestFile>(path, flags));
  });
  auto make = [&](std::string_view name, uint32_t type, uint32_t major) {
    return error_of(make_node(context(), cwd, name, type | 0666, mode::make_device(major, 3)));
  };
  ASSERT_EQ(make("served", mode::kCharDevice, kMajor), 0);
  ASSERT_EQ(make("unserved", mode::kCharDevice, 241), 0);
  ASSERT_EQ(make("socket", mode::kSocket, 0), 0);
  auto file = open_at("served", OpenFlags::kReadWrite);
  ASSERT_TRUE(file);
  EXPECT_EQ((*file)->status()->special_device, mode::make_device(kMajor, 3));
  EXPECT_EQ((*file)->description(), "/served");
  EXPECT_EQ(error_of(open_at("unserved", OpenFlags::kReadWrite)), ENXIO);
  EXPECT_EQ(error_of(open_at("socket", OpenFlags::kReadWrite)), ENXIO);
  EXPECT_TRUE(open_at("socket", OpenFlags::kPath));
}

TEST_F(VfsTest, SendsPagesToAnotherFile) {
  std::string text;
  for (int i = 0; i < 100000; ++i) text += static_cast<char>('a' + i % 26);
  ASSERT_EQ(write_file("in", text), 0);
  auto in = *open_at("in", OpenFlags::kReadOnly);
  auto out = *open_at("out", kCreateNew);
  EXPECT_EQ(send_pages(*in, 100, 50000, *out).value_or(0), 50000u);
  EXPECT_EQ(send_pages(*in, 99990, 50000, *out).value_or(0), 10u);
  EXPECT_EQ(send_pages(*in, 100000, 1, *out).value_or(9), 0u);
  EXPECT_EQ(read_file("out"), text.substr(100, 50000) + text.substr(99990));
}

TEST_F(VfsTest, EncodesDeviceNumbersAsLinux) {
  for (uint32_t major : {0u, 1u, 255u, 4095u, 70000u})
    for (uint32_t minor : {0u, 5u, 255u, 256u, 1000000u}) {
      uint64_t device = mode::make_device(major, minor);
      EXPECT_EQ(mode::major_of(device), major);
      EXPECT_EQ(mode::minor_of(device), minor);
    }
}

}  // namespace
}  // namespace aril::vfs
