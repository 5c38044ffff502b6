#include "fs/sysfs/sysfs.hpp"
#include "mounter.hpp"
#include "platform/common/boot_part.hpp"

namespace aril::platform {
namespace {

/// Null until somebody has gone there. Lives for ever.
constinit sysfs::Sysfs* made = nullptr;

void add_devices(const Boot& boot) {
  constexpr uint64_t kVirtioBlockMajor = 254, kMinorsPerDisk = 16;
  uint64_t minor = 0;
  for (BlockDevice* disk : boot.machine.block) {
    made->add_block_device(disk->name(), disk->sector_count(), kVirtioBlockMajor << 8 | minor);
    minor += kMinorsPerDisk;
  }
  for (const sysfs::NetworkInterface& interface : boot.interfaces)
    made->add_network_interface(interface);
}

Result<RefPtr<vfs::FileSystem>> make_sysfs(const Boot& boot) {
  made = ARIL_TRY(sysfs::Sysfs::create()).release();
  add_devices(boot);
  return RefPtr<vfs::FileSystem>(made->file_system());
}

/// Of a frozen image: the program went there before there were any.
void show_devices_later(Boot& boot) {
  if (made != nullptr) add_devices(boot);
}

void mount_sysfs(Boot& boot) {
  Mounter(boot.mounts)
      .mount_on_demand("/sys", "sysfs", {.make = [&boot] { return make_sysfs(boot); }, .made = {}},
                       kKernelMountFlags);
}
ARIL_BOOT_PART(450, sys, mount_sysfs);
ARIL_MACHINE_PART(451, sys_devices, show_devices_later);

}  // namespace
}  // namespace aril::platform
