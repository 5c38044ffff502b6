#pragma once
#include <utility>

#include "fs/vfs/mount.hpp"
#include "fs/vfs/operations.hpp"
#include "kernel/log/log.hpp"

namespace aril::platform {

/// Boot cannot go on without these; they only fail when memory is short.
template <typename T>
T need(Result<T> result, const char* what) {
  if (!result)
    panic("cannot make %s (error %d): give the machine more memory (--memory)", what,
          static_cast<int>(result.error()));
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

/// Mounts file systems in the root while the machine boots.
class Mounter {
 public:
  explicit Mounter(vfs::MountTree& mounts)
      : mounts_(mounts),
        context_{.mounts = mounts, .identity = {}, .root = mounts.root(), .umask = 0} {}

  /// Mounts at `name`, which is made when the image lacks it.
  void mount(const char* name, RefPtr<vfs::FileSystem> file_system, vfs::MountFlags flags) {
    need(try_mount(name, std::move(file_system), flags), name);
  }
  /// Likewise, for when the program runs.
  Result<void> try_mount(const char* name, RefPtr<vfs::FileSystem> file_system,
                         vfs::MountFlags flags) {
    vfs::Path place = ARIL_TRY(directory(name));
    std::string_view type = file_system->type_name();
    ARIL_TRY(mounts_.mount(place, std::move(file_system), type, flags));
    return {};
  }
  /// As mount(), with a file system that is made when somebody first goes there.
  void mount_on_demand(const char* name, std::string_view type, vfs::OnDemand file_system,
                       vfs::MountFlags flags) {
    vfs::Path place = need(directory(name), name);
    need(mounts_.mount_on_demand(place, std::move(file_system), type, flags), name);
  }
  /// Made with `mode` when the image lacks it.
  Result<vfs::Path> directory(const char* name, uint32_t mode = 0755) {
    constexpr auto kDirectory = vfs::LookupFlags::kFollow | vfs::LookupFlags::kDirectory;
    auto found = vfs::resolve(context_, context_.root, name, kDirectory);
    if (found || found.error() != Errno::kNoEnt) return found;
    return vfs::make_directory(context_, context_.root, name, mode);
  }

 private:
  vfs::MountTree& mounts_;
  vfs::LookupContext context_;
};

inline constexpr auto kKernelMountFlags =
    vfs::MountFlags::kNoSuid | vfs::MountFlags::kNoDev | vfs::MountFlags::kNoExec;

}  // namespace aril::platform
