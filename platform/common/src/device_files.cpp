#include "fs/devfs/devfs.hpp"
#include "fs/tmpfs/tmpfs.hpp"
#include "mounter.hpp"
#include "platform/common/boot_part.hpp"

namespace aril::platform {
namespace {

void mount_dev(Boot& boot) {
  devfs::register_memory_devices();
  Mounter(boot.mounts)
      .mount("/dev", need(devfs::Devfs::create(), "/dev"), vfs::MountFlags::kNoSuid);
}
ARIL_BOOT_PART(410, dev, mount_dev);

void mount_shared_memory(Boot& boot) {
  constexpr uint32_t kForEverybody = 01777;
  Mounter(boot.mounts)
      .mount("/dev/shm", need(tmpfs::Tmpfs::create({.mode = kForEverybody}), "/dev/shm"),
             vfs::MountFlags::kNoSuid | vfs::MountFlags::kNoDev);
}
ARIL_BOOT_PART(420, shm, mount_shared_memory);

}  // namespace
}  // namespace aril::platform
