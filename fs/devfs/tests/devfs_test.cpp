#include "fs/devfs/devfs.hpp"

#include "../../vfs/tests/fs_fixture.hpp"
#include "kernel/random/random.hpp"

namespace aril::vfs {
namespace {

class DevfsTest : public FsTest {
 protected:
  void SetUp() override {
    FsTest::SetUp();
    static const bool once = [] {
      devfs::register_memory_devices();
      random::initialize();
      return true;
    }();
    (void)once;
    mount(*devfs::Devfs::create());
  }
  int write_error(File& file, std::string text) {
    IoBuffer::Segment segment;
    auto buffer = IoBuffer::kernel(segment, std::as_writable_bytes(std::span(text)));
    return error_of(file.write(buffer));
  }
};

TEST_F(DevfsTest, HasTheStandardNodes) {
  EXPECT_EQ(stat("null")->mode, mode::kCharDevice | 0666u);
  EXPECT_EQ(stat("null")->special_device, 0x103u);
  EXPECT_EQ(stat("console")->special_device, 0x501u);
  EXPECT_EQ(read_link(context(), cwd, "stdout").value_or(""), "/proc/self/fd/1");
  EXPECT_EQ(stat("shm")->mode, mode::kDirectory | 01777u);
}

TEST_F(DevfsTest, NullSwallowsAndIsEmpty) {
  auto file = *open_at("null", OpenFlags::kReadWrite);
  EXPECT_EQ(write_to(*file, std::string(100000, 'x')), 100000u);
  EXPECT_EQ(read_from(*file), "");
  EXPECT_EQ(*file->seek(5, SeekOrigin::kSet), 0u);
  EXPECT_EQ(error_of(file->memory_object()), ENODEV);
}

TEST_F(DevfsTest, ZeroAndFullReadZeroes) {
  EXPECT_EQ(read_file("zero", 10000), std::string(10000, '\0'));
  auto full = *open_at("full", OpenFlags::kReadWrite);
  EXPECT_EQ(write_error(*full, "x"), ENOSPC);
  auto zero = *open_at("zero", OpenFlags::kReadWrite);
  auto one = *zero->memory_object(), two = *zero->memory_object();
  EXPECT_NE(one, two) << "each mapping is memory of its own";
  EXPECT_TRUE(one->page(1000, PageAccess::kWrite));
}

TEST_F(DevfsTest, RandomDiffers) {
  std::string one = read_file("urandom", 1000), two = read_file("random", 1000);
  EXPECT_EQ(one.size(), 1000u);
  EXPECT_NE(one, two);
  auto file = *open_at("urandom", OpenFlags::kReadWrite);
  EXPECT_EQ(write_to(*file, std::string(1000, 's')), 1000u);
}

TEST_F(DevfsTest, KmsgTakesALineAndGivesItBack) {
  auto writer = *open_at("kmsg", OpenFlags::kWriteOnly);
  EXPECT_EQ(write_to(*writer, "<3>hello from a test\n"), 21u);
  auto reader = *open_at("kmsg", OpenFlags::kReadOnly | OpenFlags::kNonBlock);
  std::string all = read_from(*reader);
  EXPECT_NE(all.find("hello from a test\n"), std::string::npos) << all;
}

TEST_F(DevfsTest, TerminalsComeAndGo) {
  unmount();
  auto pts = *devfs::DevPts::create();
  mount(pts);
  EXPECT_EQ(error_of(stat("3")), ENOENT);
  ASSERT_TRUE(pts->add_terminal(3, 1000, 5));
  EXPECT_EQ(error_of(pts->add_terminal(3, 1000, 5)), EEXIST);
  EXPECT_EQ(stat("3")->special_device, mode::make_device(devfs::kPtsMajor, 3));
  EXPECT_EQ(stat("3")->gid, 5u);
  pts->remove_terminal(3);
  EXPECT_EQ(error_of(stat("3")), ENOENT);
  pts->remove_terminal(3);
}

}  // namespace
}  // namespace aril::vfs
