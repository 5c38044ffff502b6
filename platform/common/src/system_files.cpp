#include "fs/sysfs/sysfs.hpp"
#include "mounter.hpp"
#include "platform/common/boot_part.hpp"

namespace aril::platform {
namespace {

void mount_sysfs(Boot& boot) {
  auto sysfs = need(sysfs::Sysfs::create(), "/sys");
  constexpr uint64_t kVirtioBlockMajor = 254, kMinorsPerDisk = 16;
  uint64_t minor = 0;
  for (BlockDevice* disk : boot.machine.block) {
    sysfs->add_block_device(disk->name(), disk->sector_count(), kVirtioBlockMajor << 8 | minor);
    minor += kMinorsPerDisk;
  }
  for (const sysfs::NetworkInterface& interface : boot.interfaces)
    sysfs->add_network_interface(interface);
  Mounter(boot.mounts).mount("/sys", sysfs->file_system(), kKernelMountFlags);
}
ARIL_BOOT_PART(450, sys, mount_sysfs);

}  // namespace
}  // namespace aril::platform
