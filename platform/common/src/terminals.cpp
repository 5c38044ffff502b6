#include <atomic>

#include "fs/devfs/devfs.hpp"
#include "linux/stdio/stdio.hpp"
#include "linux/tty/pts_directory.hpp"
#include "mounter.hpp"
#include "platform/common/boot_part.hpp"

namespace aril::platform {
namespace {

/// /dev/pts, whose nodes come and go with the pseudo-terminals; null until /dev is made.
constinit std::atomic<devfs::DevPts*> pts{nullptr};

Result<void> mount_pts(Boot& boot) {
  RefPtr<devfs::DevPts> created = ARIL_TRY(devfs::DevPts::create());
  devfs::DevPts* directory = created.get();  // the mount keeps it
  ARIL_TRY(Mounter(boot.mounts)
               .try_mount("/dev/pts", std::move(created),
                          vfs::MountFlags::kNoSuid | vfs::MountFlags::kNoExec));
  pts = directory;
  return {};
}

void serve_terminals(Boot& boot) {
  linux_abi::serve_pseudo_terminals();
  linux_abi::set_pts_directory({
      .add = [](uint32_t number, uint32_t uid, uint32_t gid) -> Result<void> {
        devfs::DevPts* directory = pts;
        return directory != nullptr ? directory->add_terminal(number, uid, gid)
                                    : fail(Errno::kNoDev);
      },
      .remove =
          [](uint32_t number) {
            if (devfs::DevPts* directory = pts) directory->remove_terminal(number);
          },
  });
  boot.mounts_in_dev.push_back(&mount_pts);
}
ARIL_BOOT_PART(430, pts, serve_terminals);

}  // namespace
}  // namespace aril::platform
