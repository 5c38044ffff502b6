#pragma once
#include <cstdint>

#include "base/result.hpp"

namespace aril::linux_abi {

/// Where the nodes of pseudo-terminals appear; the platform connects it with /dev/pts
/// (fs/devfs, DevPts).
struct PtsDirectory {
  Result<void> (*add)(uint32_t number, uint32_t uid, uint32_t gid) = nullptr;
  void (*remove)(uint32_t number) = nullptr;
};
/// Serves /dev/ptmx and /dev/pts/N [pty(7)]. Once, at start-up.
void serve_pseudo_terminals();
/// Once, at start-up.
void set_pts_directory(const PtsDirectory& directory);

}  // namespace aril::linux_abi
