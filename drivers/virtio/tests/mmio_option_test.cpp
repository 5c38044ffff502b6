#include <gtest/gtest.h>

#include "drivers/virtio/device_set.hpp"

namespace aril::virtio {
namespace {

TEST(MmioOption, ParsesWhatVmmsPass) {
  auto qemu = parse_mmio_option("512@0xfeb00000:5");
  ASSERT_TRUE(qemu.has_value());
  EXPECT_EQ(qemu->address, 0xfeb00000u);
  EXPECT_EQ(qemu->size, 512u);
  EXPECT_EQ(qemu->gsi, 5u);
  auto firecracker = parse_mmio_option("4K@0xd0000000:11");
  ASSERT_TRUE(firecracker.has_value());
  EXPECT_EQ(firecracker->size, 4096u);
  EXPECT_EQ(firecracker->gsi, 11u);
  EXPECT_TRUE(parse_mmio_option("0x200@0xfeb00e00:12:3").has_value());
}

TEST(MmioOption, RefusesTheMalformed) {
  for (const char* value :
       {"", "512", "512@", "512@0xfeb00000", "512@0xfeb00000:", "512@0xfeb00000:x",
        "512@0xfeb00000:5x", "512@0xfeb00000:5:", "@0xfeb00000:5", "64@0xfeb00000:5",
        "512@0xfeb00001:5", "512@0:5", "512@0xffffffffffffff00:5", "99999999999G@0x1000:5",
        "512@0x1ffffffffffffffff:5", "512@0xfeb00000:70000", "-512@0xfeb00000:5", "4K"})
    EXPECT_FALSE(parse_mmio_option(value).has_value()) << value;
}

}  // namespace
}  // namespace aril::virtio
