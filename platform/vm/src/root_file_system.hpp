#pragma once
#include "devices.hpp"
#include "fs/vfs/mount.hpp"
#include "start_up.hpp"

namespace aril::platform {

/// Mounts the root (an EROFS image with a writable overlay in memory) and what Linux programs find
/// below it: /dev, /dev/shm, /dev/pts, /proc, /sys, and directories /run and /tmp. Panics, with
/// what to do, when there is no root.
vfs::MountTree& mount_file_systems(const Machine& machine, Devices& devices);

}  // namespace aril::platform
