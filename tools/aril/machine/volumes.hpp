#pragma once
#include <string>
#include <vector>

#include "manifest/manifest.hpp"

namespace aril::tool {

/// A directory of the host as a 9P server is told about it: QEMU's, or volume/.
struct SharedDirectory {
  Volume volume;
  std::string tag;  ///< the name of its device
  /// How the server keeps owners and permissions: "mapped-xattr" in extended attributes, "none" as
  /// the host's own (docs/volumes.md).
  std::string security_model;
};

/// Looks at the directories. Throws Error when one is not there or not a directory, cannot be used,
/// or when two have the same place in the guest.
std::vector<SharedDirectory> share_volumes(const std::vector<Volume>& volumes);

/// What the kernel's command line says of it.
std::string volume_word(const SharedDirectory& shared);

}  // namespace aril::tool
