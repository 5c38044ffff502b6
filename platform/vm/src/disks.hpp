#pragma once
#include "devices.hpp"
#include "fs/vfs/mount.hpp"
#include "start_up.hpp"

namespace aril::platform {

/// Mounts the disks that the command line names (disk=), makes the directories for them, and sees
/// to it that they are written back while the machine runs and unmounted when it ends. A disk that
/// cannot be mounted ends the machine with a line that says why.
void mount_disks(vfs::MountTree& mounts, const Machine& machine, Devices& devices);

}  // namespace aril::platform
