#include "fs/sysfs/sysfs.hpp"
#include "mounter.hpp"
#include "platform/common/boot_part.hpp"

namespace aril::platform {
namespace {

Result<RefPtr<vfs::FileSystem>> make_sysfs(const Boot& boot) {
  auto sysfs = ARIL_TRY(sysfs::Sysfs::create());
  constexpr uint64_t kVirtioBlockMajor = 254, kMinorsPerDisk = 16;
  uint64_t minor = 0;
  for (BlockDevice* disk : boot.machine.block) {
    sysfs->add_block_device(disk->name(), disk->sector_count(), kVirtioBlockMajor << 8 | minor);
    minor += kMinorsPerDisk;
  }
  for (const sysfs::NetworkInterface& interface : boot.interfaces)
    sysfs->add_network_interface(interface);
  return RefPtr<vfs::FileSystem>(sysfs->file_system());
}

void mount_sysfs(Boot& boot) {
  Mounter(boot.mounts)
      .mount_on_demand("/sys", "sysfs", {.make = [&boot] { return make_sysfs(boot); }, .made = {}},
                       kKernelMountFlags);
}
ARIL_BOOT_PART(450, sys, mount_sysfs);

}  // namespace
}  // namespace aril::platform
