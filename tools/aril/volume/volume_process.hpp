#pragma once
#include "machine/volumes.hpp"
#include "support/file.hpp"

namespace aril::tool {

/// Starts a process that serves the directory by 9P2000.L (VolumeServer) and can do nothing else:
/// confined by a seccomp filter, and to the directory by chroot (root) or Landlock (others, where
/// the host has it). It ends when the returned socket, its only client's, has no holder any more.
/// Signals from a terminal do not reach it. Throws Error.
Descriptor start_volume_server(const SharedDirectory& shared);

}  // namespace aril::tool
