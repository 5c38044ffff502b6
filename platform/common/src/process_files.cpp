#include "fs/procfs/procfs.hpp"
#include "linux/proc/proc_files.hpp"
#include "linux/proc/process_source.hpp"
#include "linux/process/system_identity.hpp"
#include "mounter.hpp"
#include "platform/common/boot_part.hpp"

namespace aril::platform {
namespace {

Result<RefPtr<vfs::FileSystem>> make_procfs(Boot& boot) {
  procfs::SystemSource system;
  system.command_line = boot.machine.command_line;
  system.host_name = [] { return linux_abi::host_name(); };
  system.set_host_name = [](std::string_view name) -> Result<void> {
    linux_abi::set_host_name(name);
    return {};
  };
  auto procfs =
      ARIL_TRY(procfs::Procfs::create(std::move(system), linux_abi::process_source(), boot.mounts));
  linux_abi::add_registered_proc_files(*procfs);
  return RefPtr<vfs::FileSystem>(procfs->file_system());
}

void mount_procfs(Boot& boot) {
  Mounter(boot.mounts)
      .mount_on_demand("/proc", "proc", {.make = [&boot] { return make_procfs(boot); }, .made = {}},
                       kKernelMountFlags);
}
ARIL_BOOT_PART(440, proc, mount_procfs);

}  // namespace
}  // namespace aril::platform
