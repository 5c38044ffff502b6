#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/flags.hpp"
#include "fs/vfs/identity.hpp"
#include "fs/vfs/mount.hpp"
#include "fs/vfs/path.hpp"

namespace aril::vfs {

inline constexpr size_t kPathLimit = 4096;  ///< PATH_MAX, with the NUL
inline constexpr size_t kNameLimit = 255;   ///< NAME_MAX
inline constexpr unsigned kLinkLimit = 40;  ///< symbolic links in one resolution, then kLoop

/// On whose behalf a path is walked. A view made for one call; cheap.
struct LookupContext {
  MountTree& mounts;
  Identity identity;
  Path root;             ///< the process's root directory
  uint32_t umask = 022;  ///< applied to the modes of what is created
};

enum class LookupFlags : uint32_t {
  kNone = 0,
  kFollow = 1,         ///< a symbolic link in the last component is followed
  kDirectory = 2,      ///< kNotDir unless it is a directory
  kEmptyPath = 4,      ///< "" means the start itself (AT_EMPTY_PATH)
  kNoSymlinks = 8,     ///< RESOLVE_NO_SYMLINKS: kLoop at any link
  kNoMagicLinks = 16,  ///< RESOLVE_NO_MAGICLINKS
  kBeneath = 32,       ///< RESOLVE_BENEATH: kXDev when it would leave the start
  kInRoot = 64,        ///< RESOLVE_IN_ROOT: the start is the root directory
  kNoCrossing = 128,   ///< RESOLVE_NO_XDEV: kXDev at a mount point
};
ARIL_FLAG_OPERATORS(LookupFlags);

/// Walks `name` from `start` (the current directory, or a dirfd's) [path_resolution(7)].
/// Errors as Linux: kNoEnt (also for ""), kNotDir, kAcces, kLoop, kNameTooLong, kXDev, kIo, kNoMem.
Result<Path> resolve(const LookupContext& context, const Path& start, std::string_view name,
                     LookupFlags flags);

/// The directory that holds the last component, and that component.
struct ParentLookup {
  Path parent;
  std::string name;             ///< never empty; may be "." or ".." (see `kind`)
  bool trailing_slash = false;  ///< only a directory will do
  enum class Kind : uint8_t { kNormal, kDot, kDotDot, kRoot } kind = Kind::kNormal;
};
Result<ParentLookup> resolve_parent(const LookupContext& context, const Path& start,
                                    std::string_view name, LookupFlags flags = LookupFlags::kNone);

/// The dentry `name` in `parent`, mounts crossed; its dentry is negative when there is no such
/// file. No permission check. kIo, kNoMem, kNameTooLong.
Result<Path> lookup_component(const LookupContext& context, const Path& parent,
                              std::string_view name);

/// The same without crossing mounts; under the file system's namespace mutex.
Result<RefPtr<Dentry>> lookup_locked(const Path& parent, std::string_view name);

/// The path's text from the process's root, for getcwd and /proc. A deleted file gets " (deleted)";
/// a place outside of `root` starts with "(unreachable)" as Linux's getcwd system call does.
std::string absolute_path(MountTree& mounts, const Path& path, const Path& root);

/// The path's text from `top`, an ancestor in the same file system; "/" for itself.
std::string path_within_mount(const Path& path, const Path& top);

}  // namespace aril::vfs
