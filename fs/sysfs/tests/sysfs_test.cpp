#include "fs/sysfs/sysfs.hpp"

#include "../../vfs/tests/fs_fixture.hpp"

namespace aril::vfs {
namespace {

class SysfsTest : public FsTest {
 protected:
  void SetUp() override {
    FsTest::SetUp();
    sys = *sysfs::Sysfs::create();
    mount(sys->file_system());
  }
  void TearDown() override { unmount(); }
  std::unique_ptr<sysfs::Sysfs> sys;
};

TEST_F(SysfsTest, ShowsTheProcessors) {
  EXPECT_EQ(read_file("devices/system/cpu/online"), "0\n");
  EXPECT_EQ(read_file("devices/system/cpu/cpu0/topology/core_id"), "0\n");
  EXPECT_EQ(read_file("devices/system/node/online"), "0\n");
  EXPECT_EQ(read_file("kernel/mm/transparent_hugepage/hpage_pmd_size"), "2097152\n");
  EXPECT_EQ(list("fs/cgroup").names.size(), 2u);
  EXPECT_EQ(write_file("devices/system/cpu/new", "x"), EPERM);
}

TEST_F(SysfsTest, ShowsInterfacesAndDisks) {
  sysfs::NetworkInterface eth0{.name = "eth0", .address = {2, 0, 0, 0, 0, 0x1f}, .index = 2};
  eth0.counters = [] { return sysfs::NetworkInterface::Counters{.rx_bytes = 42}; };
  sys->add_network_interface(eth0);
  sys->add_block_device("vda", 2048, mode::make_device(254, 0));
  EXPECT_EQ(read_file("class/net/eth0/address"), "02:00:00:00:00:1f\n");
  EXPECT_EQ(read_file("class/net/eth0/operstate"), "up\n");
  EXPECT_EQ(read_file("class/net/eth0/statistics/rx_bytes"), "42\n");
  EXPECT_EQ(read_file("block/vda/size"), "2048\n");
  EXPECT_EQ(read_file("class/block/vda/dev"), "254:0\n");
}

}  // namespace
}  // namespace aril::vfs
