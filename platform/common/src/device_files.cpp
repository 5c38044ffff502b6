#include "fs/devfs/devfs.hpp"
#include "fs/tmpfs/tmpfs.hpp"
#include "mounter.hpp"
#include "platform/common/boot_part.hpp"

namespace aril::platform {
namespace {

void mount_dev(Boot& boot) {
  devfs::register_memory_devices();
  vfs::OnDemand dev{
      .make = []() -> Result<RefPtr<vfs::FileSystem>> { return devfs::Devfs::create(); },
      .made =
          [&boot] {
            for (auto* mount : boot.mounts_in_dev) {
              if (Result<void> mounted = mount(boot); !mounted)
                ARIL_LOG_ERROR("dev", "a part of /dev cannot be made: error %d",
                               static_cast<int>(mounted.error()));
            }
          }};
  Mounter(boot.mounts)
      .mount_on_demand("/dev", "devtmpfs", std::move(dev), vfs::MountFlags::kNoSuid);
}
ARIL_BOOT_PART(410, dev, mount_dev);

Result<void> mount_shared_memory(Boot& boot) {
  constexpr uint32_t kForEverybody = 01777;
  return Mounter(boot.mounts)
      .try_mount("/dev/shm", ARIL_TRY(tmpfs::Tmpfs::create({.mode = kForEverybody})),
                 vfs::MountFlags::kNoSuid | vfs::MountFlags::kNoDev);
}
void offer_shared_memory(Boot& boot) { boot.mounts_in_dev.push_back(&mount_shared_memory); }
ARIL_BOOT_PART(420, shm, offer_shared_memory);

}  // namespace
}  // namespace aril::platform
