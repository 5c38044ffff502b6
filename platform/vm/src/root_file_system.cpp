#include "root_file_system.hpp"

#include <algorithm>
#include <span>

#include "disks.hpp"
#include "fs/devfs/devfs.hpp"
#include "fs/erofs/erofs.hpp"
#include "fs/ninep/ninep.hpp"
#include "fs/overlay/overlay.hpp"
#include "fs/procfs/procfs.hpp"
#include "fs/sysfs/sysfs.hpp"
#include "fs/tmpfs/tmpfs.hpp"
#include "fs/vfs/operations.hpp"
#include "image.hpp"
#include "kernel/log/log.hpp"
#include "linux/abi/time.hpp"
#include "linux/proc/proc_files.hpp"
#include "linux/proc/process_source.hpp"
#include "linux/process/system_identity.hpp"
#include "linux/tty/pts_directory.hpp"

namespace aril::platform {
namespace {

constexpr const char* kComponent = "root";

std::span<const std::byte> view_of(PhysicalAddress start, uint64_t size) {
  return {arch::physical_to_virtual(start), size};
}

/// The EROFS image where `source` says, null when there is none; panics when it is there and
/// broken.
RefPtr<erofs::Erofs> open_root(RootSource source, const Machine& machine, Devices& devices) {
  Result<RefPtr<erofs::Erofs>> root = fail(Errno::kNoEnt);
  const char* place = "";
  switch (source) {
    case RootSource::kRam:
      if (auto range = appended_root())
        root = erofs::Erofs::open(view_of(range->start, range->end - range->start));
      place = "appended to the kernel";
      break;
    case RootSource::kModule:
      if (machine.boot.module_size != 0)
        root = erofs::Erofs::open(view_of(machine.boot.module_start, machine.boot.module_size));
      place = "in the boot module (initrd)";
      break;
    case RootSource::kDisk:
      if (!devices.virtio.block().empty()) root = erofs::Erofs::open(*devices.virtio.block()[0]);
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

RefPtr<erofs::Erofs> find_root(const Machine& machine, Devices& devices) {
  if (machine.options.root != RootSource::kFirstThereIs)
    return open_root(machine.options.root, machine, devices);
  for (RootSource source : {RootSource::kRam, RootSource::kModule, RootSource::kDisk}) {
    if (auto root = open_root(source, machine, devices)) return root;
  }
  return nullptr;
}

/// Boot cannot go on without these; they only fail when memory is short.
template <typename T>
T need(Result<T> result, const char* what) {
  if (!result)
    panic("cannot make %s (error %d): give the machine more memory (--memory)", what,
          static_cast<int>(result.error()));
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

class Mounter {
 public:
  explicit Mounter(vfs::MountTree& mounts)
      : mounts_(mounts),
        context_{.mounts = mounts, .identity = {}, .root = mounts.root(), .umask = 0} {}

  /// Mounts at `name`, which is made when the image lacks it.
  void mount(const char* name, RefPtr<vfs::FileSystem> file_system, vfs::MountFlags flags) {
    vfs::Path place = need(directory(name), name);
    std::string_view type = file_system->type_name();
    need(mounts_.mount(place, std::move(file_system), type, flags), name);
  }
  /// Made with `mode` when the image lacks it.
  Result<vfs::Path> directory(const char* name, uint32_t mode = 0755) {
    auto made = vfs::make_directory(context_, context_.root, name, mode);
    if (made) return made;
    return vfs::resolve(context_, context_.root, name,
                        vfs::LookupFlags::kFollow | vfs::LookupFlags::kDirectory);
  }

 private:
  vfs::MountTree& mounts_;
  vfs::LookupContext context_;
};

constexpr auto kKernelMountFlags =
    vfs::MountFlags::kNoSuid | vfs::MountFlags::kNoDev | vfs::MountFlags::kNoExec;

/// /dev/pts, whose nodes come and go with the pseudo-terminals.
void mount_pts(Mounter& mounter) {
  static constinit devfs::DevPts* pts = nullptr;
  RefPtr<devfs::DevPts> created = need(devfs::DevPts::create(), "/dev/pts");
  pts = created.get();  // the mount keeps it
  mounter.mount("/dev/pts", std::move(created),
                vfs::MountFlags::kNoSuid | vfs::MountFlags::kNoExec);
  linux_abi::set_pts_directory({
      .add = [](uint32_t number, uint32_t uid,
                uint32_t gid) { return pts->add_terminal(number, uid, gid); },
      .remove = [](uint32_t number) { pts->remove_terminal(number); },
  });
}

void mount_procfs(Mounter& mounter, vfs::MountTree& mounts, const Machine& machine) {
  procfs::SystemSource system;
  system.command_line = machine.boot.command_line;
  system.host_name = [] { return linux_abi::host_name(); };
  system.set_host_name = [](std::string_view name) -> Result<void> {
    linux_abi::set_host_name(name);
    return {};
  };
  auto procfs =
      need(procfs::Procfs::create(std::move(system), linux_abi::process_source(), mounts), "/proc");
  linux_abi::add_registered_proc_files(*procfs);
  mounter.mount("/proc", procfs->file_system(), kKernelMountFlags);
}

void mount_sysfs(Mounter& mounter, Devices& devices) {
  auto sysfs = need(sysfs::Sysfs::create(), "/sys");
  constexpr uint64_t kVirtioBlockMajor = 254, kMinorsPerDisk = 16;
  uint64_t minor = 0;
  for (BlockDevice* disk : devices.virtio.block()) {
    sysfs->add_block_device(disk->name(), disk->sector_count(), kVirtioBlockMajor << 8 | minor);
    minor += kMinorsPerDisk;
  }
  mounter.mount("/sys", sysfs->file_system(), kKernelMountFlags);
}

/// The directories of the host that the command line names.
void mount_volumes(Mounter& mounter, const Machine& machine, Devices& devices) {
  for (const KernelOptions::Volume& volume : machine.options.volumes) {
    auto all = devices.virtio.volumes();
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

}  // namespace

vfs::MountTree& mount_file_systems(const Machine& machine, Devices& devices) {
  RefPtr<erofs::Erofs> image = find_root(machine, devices);
  if (!image)
    panic("no root file system: neither appended to the kernel, nor a boot module, nor a disk");
  auto& mounts = *new vfs::MountTree;
  auto root = need(overlay::Overlay::create(std::move(image)), "the root's overlay");
  need(mounts.mount_root(std::move(root), "root", vfs::MountFlags::kNone), "/");

  Mounter mounter(mounts);
  devfs::register_memory_devices();
  mounter.mount("/dev", need(devfs::Devfs::create(), "/dev"), vfs::MountFlags::kNoSuid);
  constexpr uint32_t kForEverybody = 01777;
  mounter.mount("/dev/shm", need(tmpfs::Tmpfs::create({.mode = kForEverybody}), "/dev/shm"),
                vfs::MountFlags::kNoSuid | vfs::MountFlags::kNoDev);
  mount_pts(mounter);
  mount_procfs(mounter, mounts, machine);
  mount_sysfs(mounter, devices);
  // The overlay keeps what is written in memory, so that these need no file system of their own,
  // which would hide what the image has there.
  need(mounter.directory("/run"), "/run");
  need(mounter.directory("/tmp", kForEverybody), "/tmp");
  mount_volumes(mounter, machine, devices);
  mount_disks(mounts, machine, devices);
  return mounts;
}

}  // namespace aril::platform
