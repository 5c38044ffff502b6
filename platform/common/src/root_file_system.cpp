#include <span>

#include "fs/erofs/erofs.hpp"
#include "mounter.hpp"
#include "platform/common/boot_part.hpp"

namespace aril::platform {
namespace {

constexpr const char* kComponent = "root";

/// The EROFS image where `source` says, null when there is none; panics when it is there and
/// broken.
RefPtr<erofs::Erofs> open_root(RootSource source, const Machine& machine) {
  Result<RefPtr<erofs::Erofs>> root = fail(Errno::kNoEnt);
  const char* place = "";
  switch (source) {
    case RootSource::kRam:
      if (!machine.ram_root.empty()) root = erofs::Erofs::open(machine.ram_root);
      place = "appended to the kernel";
      break;
    case RootSource::kModule:
      if (!machine.module_root.empty()) root = erofs::Erofs::open(machine.module_root);
      place = "in the boot module (initrd)";
      break;
    case RootSource::kDisk:
      if (!machine.block.empty()) root = erofs::Erofs::open(*machine.block[0]);
      place = "on the first disk (vda)";
      break;
    case RootSource::kFirstThereIs:
      break;
  }
  if (root) {
    ARIL_LOG_INFO(kComponent, "the file system %s", place);
    return *root;
  }
  if (root.error() != Errno::kNoEnt)
    panic("the root file system %s cannot be used (error %d): build the image again", place,
          static_cast<int>(root.error()));
  return nullptr;
}

RefPtr<erofs::Erofs> find_root(const Machine& machine) {
  if (machine.options.root != RootSource::kFirstThereIs)
    return open_root(machine.options.root, machine);
  for (RootSource source : {RootSource::kRam, RootSource::kModule, RootSource::kDisk}) {
    if (auto root = open_root(source, machine)) return root;
  }
  return nullptr;
}

void find_root_file_system(Boot& boot) {
  boot.root = find_root(boot.machine);
  if (!boot.root)
    panic("no root file system: neither appended to the kernel, nor a boot module, nor a disk");
}
ARIL_BOOT_PART(400, root, find_root_file_system);

void mount_root(Boot& boot) {
  need(boot.mounts.mount_root(std::move(boot.root), "root", vfs::MountFlags::kNone), "/");
}
ARIL_BOOT_PART(404, mount_root, mount_root);

}  // namespace
}  // namespace aril::platform
