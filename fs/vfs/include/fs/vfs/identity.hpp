#pragma once
#include <cstdint>
#include <span>

namespace aril::vfs {

/// Whom the file system sees: the file-system user and group of a task [credentials(7)]. A view;
/// made for one call.
struct Identity {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::span<const uint32_t> groups;  ///< supplementary
  /// CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_CHOWN, CAP_FSETID and CAP_MKNOD as one:
  /// root has them all.
  bool has_override = true;

  [[nodiscard]] bool in_group(uint32_t group) const {
    if (gid == group) return true;
    for (uint32_t member : groups)
      if (member == group) return true;
    return false;
  }
};

}  // namespace aril::vfs
