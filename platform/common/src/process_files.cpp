#include "fs/procfs/procfs.hpp"
#include "linux/proc/proc_files.hpp"
#include "linux/proc/process_source.hpp"
#include "linux/process/system_identity.hpp"
#include "mounter.hpp"
#include "platform/common/boot_part.hpp"

namespace aril::platform {
namespace {

void mount_procfs(Boot& boot) {
  procfs::SystemSource system;
  system.command_line = boot.machine.command_line;
  system.host_name = [] { return linux_abi::host_name(); };
  system.set_host_name = [](std::string_view name) -> Result<void> {
    linux_abi::set_host_name(name);
    return {};
  };
  auto procfs = need(
      procfs::Procfs::create(std::move(system), linux_abi::process_source(), boot.mounts), "/proc");
  linux_abi::add_registered_proc_files(*procfs);
  Mounter(boot.mounts).mount("/proc", procfs->file_system(), kKernelMountFlags);
}
ARIL_BOOT_PART(440, proc, mount_procfs);

}  // namespace
}  // namespace aril::platform
