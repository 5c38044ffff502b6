#include "fs/devfs/devfs.hpp"
#include "linux/stdio/stdio.hpp"
#include "linux/tty/pts_directory.hpp"
#include "mounter.hpp"
#include "platform/common/boot_part.hpp"

namespace aril::platform {
namespace {

/// /dev/pts, whose nodes come and go with the pseudo-terminals.
void mount_pts(Boot& boot) {
  static constinit devfs::DevPts* pts = nullptr;
  RefPtr<devfs::DevPts> created = need(devfs::DevPts::create(), "/dev/pts");
  pts = created.get();  // the mount keeps it
  Mounter(boot.mounts)
      .mount("/dev/pts", std::move(created), vfs::MountFlags::kNoSuid | vfs::MountFlags::kNoExec);
  linux_abi::serve_pseudo_terminals();
  linux_abi::set_pts_directory({
      .add = [](uint32_t number, uint32_t uid,
                uint32_t gid) { return pts->add_terminal(number, uid, gid); },
      .remove = [](uint32_t number) { pts->remove_terminal(number); },
  });
}
ARIL_BOOT_PART(430, pts, mount_pts);

}  // namespace
}  // namespace aril::platform
