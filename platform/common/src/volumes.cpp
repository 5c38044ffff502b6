#include <algorithm>

#include "fs/ninep/ninep.hpp"
#include "mounter.hpp"
#include "platform/common/boot_part.hpp"

namespace aril::platform {
namespace {

/// The directories of the host that the command line names.
void mount_volumes(Boot& boot) {
  Mounter mounter(boot.mounts);
  for (const KernelOptions::Volume& volume : boot.machine.options.volumes) {
    const auto& all = boot.machine.volumes;
    auto device = std::ranges::find(all, volume.tag, &MessageDevice::tag);
    if (device == all.end())
      panic("volume=%s:%s: the machine has no such device", volume.tag.c_str(),
            volume.path.c_str());
    auto file_system = ninep::mount(**device);
    if (!file_system)
      panic("volume=%s:%s cannot be mounted (error %d): the directory on the host must be readable",
            volume.tag.c_str(), volume.path.c_str(), static_cast<int>(file_system.error()));
    for (size_t slash = volume.path.find('/', 1); slash != std::string::npos;
         slash = volume.path.find('/', slash + 1))
      need(mounter.directory(volume.path.substr(0, slash).c_str()), volume.path.c_str());
    vfs::MountFlags flags = vfs::MountFlags::kNoSuid | vfs::MountFlags::kNoDev;
    if (volume.read_only) flags |= vfs::MountFlags::kReadOnly;
    mounter.mount(volume.path.c_str(), std::move(*file_system), flags);
  }
}
ARIL_MACHINE_PART(470, volumes, mount_volumes);

}  // namespace
}  // namespace aril::platform
