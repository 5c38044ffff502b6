#include "fs/tmpfs/tmpfs.hpp"
#include "fs/vfs/lookup.hpp"
#include "fs/vfs/mount.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/process/fs_context.hpp"
#include "linux/process/process.hpp"

/// mount and umount2, as far as programs set up their own surroundings: memory file systems, bind
/// mounts, and changes of flags [mount(2)].
namespace aril::linux_abi {
namespace {

constexpr uint64_t kRemount = 32, kBind = 4096, kMove = 8192, kRecursive = 16384, kSilent = 32768,
                   kPropagation = 0x20000 | 0x40000 | 0x80000 | 0x100000, kMagic = 0xc0ed0000;
constexpr uint64_t kMountFlags = 1 | 2 | 4 | 8 | 1024 | (1 << 21);

Result<vfs::Path> place(uint64_t name, vfs::LookupFlags flags) {
  std::string text = ARIL_TRY(string_from_user(name, vfs::kPathLimit));
  return vfs::resolve(caller_lookup_context(), current_process().fs().cwd(), text, flags);
}

Result<RefPtr<vfs::FileSystem>> make_file_system(std::string_view type, uint64_t data) {
  if (type != "tmpfs" && type != "ramfs") return fail(Errno::kNoDev);
  std::string options;
  if (data != 0) options = ARIL_TRY(string_from_user(data));
  return RefPtr<vfs::FileSystem>(
      ARIL_TRY(tmpfs::Tmpfs::create(ARIL_TRY(tmpfs::Tmpfs::parse_options(options)))));
}

Result<void> sys_mount(uint64_t source, uint64_t target, uint64_t type, uint64_t flags,
                       uint64_t data) {
  if ((flags & 0xffff0000) == kMagic) flags &= 0xffff;
  if (!current_task().credentials.can(Capability::kSysAdmin)) return fail(Errno::kPerm);
  vfs::MountTree& tree = current_process().fs().mounts();
  vfs::Path at = ARIL_TRY(place(target, vfs::LookupFlags::kFollow));
  auto mount_flags = static_cast<vfs::MountFlags>(flags & kMountFlags);
  if ((flags & kRemount) != 0) return tree.remount(at, mount_flags);
  if ((flags & kPropagation) != 0) {
    // There is one mount namespace: nothing propagates anyway.
    constexpr uint64_t kAllowed = kPropagation | kRecursive | kSilent;
    return (flags & ~kAllowed) != 0 ? Result<void>(fail(Errno::kInval)) : Result<void>();
  }
  if ((flags & kMove) != 0) return fail(Errno::kInval);
  if ((flags & kBind) != 0) {
    vfs::Path what = ARIL_TRY(place(source, vfs::LookupFlags::kFollow));
    if (what.inode().is_directory() != at.inode().is_directory()) return fail(Errno::kNotDir);
    ARIL_TRY(tree.bind(at, what, mount_flags));
    return {};
  }
  std::string name = ARIL_TRY(string_from_user(type, 64));
  std::string label = "none";
  if (source != 0) label = ARIL_TRY(string_from_user(source));
  if (!at.inode().is_directory()) return fail(Errno::kNotDir);
  ARIL_TRY(tree.mount(at, ARIL_TRY(make_file_system(name, data)), label, mount_flags));
  return {};
}
ARIL_SYSCALL(165, mount, sys_mount, "path path str hex ptr");

Result<void> sys_umount2(uint64_t target, uint32_t flags) {
  constexpr uint32_t kForce = 1, kDetach = 2, kExpire = 4, kNoFollow = 8;
  if ((flags & ~(kForce | kDetach | kExpire | kNoFollow)) != 0) return fail(Errno::kInval);
  if (!current_task().credentials.can(Capability::kSysAdmin)) return fail(Errno::kPerm);
  auto lookup = (flags & kNoFollow) != 0 ? vfs::LookupFlags::kNone : vfs::LookupFlags::kFollow;
  return current_process().fs().mounts().unmount(ARIL_TRY(place(target, lookup)));
}
ARIL_SYSCALL(166, umount2, sys_umount2, "path hex");

Result<void> sys_pivot_root(uint64_t, uint64_t) { return fail(Errno::kPerm); }
ARIL_SYSCALL(155, pivot_root, sys_pivot_root, "path path");

}  // namespace
}  // namespace aril::linux_abi
