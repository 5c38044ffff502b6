#include <map>

#include "../../vfs/tests/fs_fixture.hpp"
#include "disk_image.hpp"
#include "fs/ext4/ext4.hpp"
#include "kernel/random/random.hpp"

// What is promised at a crash: what fsync returned for is there, whatever part of the unflushed
// writes the disk has lost, and e2fsck finds nothing to repair.
namespace aril::vfs {
namespace {

using ext4::Ext4;
using ext4::TestDisk;

class Ext4Crash : public FsTest, public ::testing::WithParamInterface<const char*> {
 protected:
  /// One file of the workload: only appended to, so that every prefix of it is predictable.
  struct Model {
    size_t length = 0;
    size_t promised = 0;
    bool name_promised = false;
  };

  static std::string contents(const std::string& name, size_t length) {
    std::string text(length, '\0');
    for (size_t i = 0; i < length; ++i)
      text[i] = static_cast<char>('a' + (i / 7 + i + name.back()) % 26);
    return text;
  }

  void step() {
    std::string name = "d" + std::to_string(random_() % 3) + "/f" + std::to_string(random_() % 40);
    switch (random_() % 8) {
      case 0:
      case 1:
      case 2: {
        auto file = open_at(name, OpenFlags::kWriteOnly | OpenFlags::kCreate | OpenFlags::kAppend);
        ASSERT_TRUE(file);
        Model& model = files_[name];
        size_t count = random_() % 20'000;
        std::string all = contents(name, model.length + count);
        ASSERT_EQ(write_to(**file, std::string_view(all).substr(model.length)), count);
        model.length += count;
        break;
      }
      case 3:
      case 4: {
        auto found = files_.find(name);
        if (found == files_.end()) break;
        auto file = open_at(name, OpenFlags::kReadWrite);
        ASSERT_TRUE(file);
        ASSERT_TRUE(random_() % 2 == 0 ? (*file)->sync() : (*file)->sync_data());
        found->second.promised = found->second.length;
        found->second.name_promised = true;
        break;
      }
      case 5:
        if (files_.erase(name) != 0) ASSERT_EQ(error_of(remove_file(context(), cwd, name)), 0);
        break;
      case 6: {
        std::string other = name + "-renamed";
        if (!files_.contains(name)) break;
        ASSERT_EQ(error_of(rename(context(), cwd, name, cwd, other, RenameFlags::kNone)), 0);
        files_.erase(name);
        ASSERT_EQ(error_of(remove_file(context(), cwd, other)), 0);
        break;
      }
      default:
        if (random_() % 10 == 0) ASSERT_TRUE(fs_->sync());
        break;
    }
  }

  /// A machine that finds the disk as a crash now would leave it.
  void crash() {
    TestDisk after(disk_->after_crash(random_));
    auto mounted = Ext4::mount(after, Ext4::Access::kReadWrite);
    ASSERT_TRUE(mounted) << error_of(mounted);
    std::optional<MountTree> other_tree(std::in_place);
    Path other_root = *other_tree->mount_root(*mounted, "test", MountFlags::kNone);
    LookupContext other{
        .mounts = *other_tree, .identity = identity, .root = other_root, .umask = 0};
    for (const auto& [name, model] : files_) {
      if (!model.name_promised) continue;
      auto file = open(other, other_root, name, OpenFlags::kReadOnly, 0);
      ASSERT_TRUE(file) << name;
      std::string text = read_from(**file);
      ASSERT_GE(text.size(), model.promised) << name;
      ASSERT_TRUE(text.substr(0, model.promised) == contents(name, model.promised)) << name;
    }
    other.root = other_root = {};
    ASSERT_TRUE((*mounted)->unmount());
    other_tree.reset();
    mounted->reset();
    ASSERT_EQ(ext4::check_image(after.bytes()), "");
  }

  std::mt19937_64 random_{11};
  std::unique_ptr<TestDisk> disk_;
  RefPtr<Ext4> fs_;
  std::map<std::string, Model> files_;
};
INSTANTIATE_TEST_SUITE_P(Blocks, Ext4Crash,
                         ::testing::Values("-b 1024 -J size=1", "-b 4096 -J size=4",
                                           "-b 1024 -J size=1 -O ^metadata_csum,^64bit"));

TEST_P(Ext4Crash, KeepsWhatFsyncPromised) {
  static const bool ready = (random::initialize(), true);
  (void)ready;
  auto image = ext4::make_image("24M", GetParam());
  if (image.empty()) GTEST_SKIP() << "no mkfs.ext4";
  disk_ = std::make_unique<TestDisk>(std::move(image));
  disk_->records = true;
  auto mounted = Ext4::mount(*disk_, Ext4::Access::kReadWrite);
  ASSERT_TRUE(mounted);
  fs_ = *mounted;
  mount(fs_);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(make_dir("d" + std::to_string(i)), 0);
  for (int i = 0; i < 1500 && !HasFatalFailure(); ++i) {
    step();
    if (i % 60 == 59) crash();
  }
  cwd = root = {};
  ASSERT_TRUE(fs_->unmount());
  fs_.reset();
  mounted->reset();
  tree.emplace();
  EXPECT_EQ(ext4::check_image(disk_->bytes()), "");
}

}  // namespace
}  // namespace aril::vfs
