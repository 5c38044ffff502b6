#pragma once
#include <cstdint>

#include "base/flags.hpp"

/// File types and permission bits as Linux encodes them in st_mode [inode(7)].
namespace aril::vfs::mode {

inline constexpr uint32_t kTypeMask = 0170000;
inline constexpr uint32_t kSocket = 0140000;
inline constexpr uint32_t kSymlink = 0120000;
inline constexpr uint32_t kRegular = 0100000;
inline constexpr uint32_t kBlockDevice = 0060000;
inline constexpr uint32_t kDirectory = 0040000;
inline constexpr uint32_t kCharDevice = 0020000;
inline constexpr uint32_t kFifo = 0010000;

inline constexpr uint32_t kSetUid = 04000;
inline constexpr uint32_t kSetGid = 02000;
inline constexpr uint32_t kSticky = 01000;
inline constexpr uint32_t kPermissions = 07777;

/// A device number as st_rdev holds it [makedev(3)].
constexpr uint64_t make_device(uint32_t major, uint32_t minor) {
  return ((uint64_t{major} & 0xfffff000) << 32) | ((uint64_t{major} & 0xfff) << 8) |
         ((uint64_t{minor} & 0xffffff00) << 12) | (minor & 0xff);
}
constexpr uint32_t major_of(uint64_t device) {
  return static_cast<uint32_t>(((device >> 32) & 0xfffff000) | ((device >> 8) & 0xfff));
}
constexpr uint32_t minor_of(uint64_t device) {
  return static_cast<uint32_t>(((device >> 12) & 0xffffff00) | (device & 0xff));
}

/// The d_type of directory entries: DT_* are the type bits shifted down [getdents64(2)].
constexpr uint8_t directory_type(uint32_t mode) {
  return static_cast<uint8_t>((mode & kTypeMask) >> 12);
}

}  // namespace aril::vfs::mode

namespace aril::vfs {

/// What a caller wants to do with a file; the values of access(2) and of the permission bits.
enum class Access : uint8_t { kExists = 0, kExecute = 1, kWrite = 2, kRead = 4 };
ARIL_FLAG_OPERATORS(Access);

}  // namespace aril::vfs
