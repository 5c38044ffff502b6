#include <string>

#include "fs/ext4/ext4.hpp"
#include "fs/vfs/operations.hpp"
#include "kernel/log/log.hpp"
#include "kernel/vm/page_cache.hpp"
#include "platform/common/boot_part.hpp"

namespace aril::platform {
namespace {

constexpr const char* kComponent = "disk";
constexpr size_t kMaxDisks = 16;

/// The mounted disks; they stay to the end.
constinit ext4::Ext4* mounted[kMaxDisks] = {};
constinit size_t mounted_count = 0;

BlockDevice* find_device(const Machine& machine, std::string_view name) {
  for (BlockDevice* device : machine.block) {
    if (device->name() == name) return device;
  }
  return nullptr;
}

const char* reason(Errno error) {
  switch (error) {
    case Errno::kInval:
      return "it holds no ext4 file system (mkfs.ext4 makes one)";
    case Errno::kOpNotSupp:
      return "it has features that are not served";
    case Errno::kRoFs:
      return "its journal must be replayed first: attach it once without :ro";
    case Errno::kNoMem:
      return "too little memory: give the machine more (--memory)";
    default:
      return "it is damaged: run e2fsck on it";
  }
}

/// The directory at `path`; those that are missing are made.
Result<vfs::Path> make_directories(const vfs::LookupContext& context, const std::string& path) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1))
    static_cast<void>(vfs::make_directory(context, context.root, path.substr(0, slash), 0755));
  static_cast<void>(vfs::make_directory(context, context.root, path, 0755));
  return vfs::resolve(context, context.root, path,
                      vfs::LookupFlags::kFollow | vfs::LookupFlags::kDirectory);
}

void unmount_disks() {
  for (ext4::Ext4* disk : std::span(mounted).first(mounted_count)) {
    if (Result<void> done = disk->unmount(); !done)
      ARIL_LOG_ERROR(kComponent, "a disk could not be unmounted cleanly: error %d",
                     static_cast<int>(done.error()));
  }
}

void mount_disk(const vfs::LookupContext& context, const DiskOption& option,
                const Machine& machine) {
  BlockDevice* device = find_device(machine, option.device);
  if (device == nullptr)
    panic("there is no disk %s to be mounted at %s", option.device.c_str(), option.path.c_str());
  bool read_only = option.read_only || device->is_read_only();
  auto file_system = ext4::Ext4::mount(
      *device, read_only ? ext4::Ext4::Access::kReadOnly : ext4::Ext4::Access::kReadWrite);
  if (!file_system)
    panic("the disk for %s (%s) cannot be mounted: %s", option.path.c_str(), option.device.c_str(),
          reason(file_system.error()));
  auto place = make_directories(context, option.path);
  auto flags = vfs::MountFlags::kRelatime;
  if (read_only) flags |= vfs::MountFlags::kReadOnly;
  if (!place || !context.mounts.mount(*place, *file_system, "/dev/" + option.device, flags))
    panic("the disk %s cannot be mounted: there is no directory %s", option.device.c_str(),
          option.path.c_str());
  mounted[mounted_count++] = file_system->get();
  ARIL_LOG_INFO(kComponent, "%s mounted at %s%s", option.device.c_str(), option.path.c_str(),
                read_only ? ", read-only" : "");
  if (read_only) return;
  page_write_back::add_task([](void* disk) { (void)static_cast<ext4::Ext4*>(disk)->commit(); },
                            file_system->get());
}

void mount_disks(Boot& boot) {
  vfs::MountTree& mounts = boot.mounts;
  const auto& options = boot.machine.options.disks;
  if (options.empty()) return;
  if (options.size() > kMaxDisks) panic("%zu disks are too many", options.size());
  vfs::LookupContext context{.mounts = mounts, .identity = {}, .root = mounts.root(), .umask = 0};
  for (const DiskOption& option : options) mount_disk(context, option, boot.machine);
  if (!page_write_back::start())
    panic("no memory for the thread that writes disks: give the machine more (--memory)");
  set_before_end(&unmount_disks);
}
ARIL_MACHINE_PART(480, disks, mount_disks);

}  // namespace
}  // namespace aril::platform
