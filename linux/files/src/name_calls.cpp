#include <algorithm>

#include "file_calls.hpp"
#include "fs/vfs/inode.hpp"

/// unlink, rename, link, symlink, readlink, mknod and their `at` forms.
namespace aril::linux_abi {

namespace {

Result<void> sys_unlinkat(int directory_fd, UserPath path, uint32_t flags) {
  if ((flags & ~kAtRemoveDir) != 0) return fail(Errno::kInval);
  std::string name = ARIL_TRY(read_path(path));
  vfs::Path start = ARIL_TRY(start_of(directory_fd, name));
  vfs::LookupContext context = caller_lookup_context();
  return (flags & kAtRemoveDir) != 0 ? vfs::remove_directory(context, start, name)
                                     : vfs::remove_file(context, start, name);
}
ARIL_SYSCALL(263, unlinkat, sys_unlinkat, "fd path hex");

Result<void> sys_unlink(UserPath path) { return sys_unlinkat(kAtCwd, path, 0); }
ARIL_SYSCALL(87, unlink, sys_unlink, "path");

Result<void> sys_renameat2(int old_fd, UserPath old_path, int new_fd, UserPath new_path,
                           uint32_t flags) {
  constexpr auto kKnown =
      std::to_underlying(vfs::RenameFlags::kNoReplace | vfs::RenameFlags::kExchange);
  if ((flags & ~kKnown) != 0 || flags == kKnown) return fail(Errno::kInval);
  std::string old_name = ARIL_TRY(read_path(old_path));
  std::string new_name = ARIL_TRY(read_path(new_path));
  vfs::Path old_start = ARIL_TRY(start_of(old_fd, old_name));
  vfs::Path new_start = ARIL_TRY(start_of(new_fd, new_name));
  return vfs::rename(caller_lookup_context(), old_start, old_name, new_start, new_name,
                     static_cast<vfs::RenameFlags>(flags));
}
ARIL_SYSCALL(316, renameat2, sys_renameat2, "fd path fd path hex");

Result<void> sys_renameat(int old_fd, UserPath old_path, int new_fd, UserPath new_path) {
  return sys_renameat2(old_fd, old_path, new_fd, new_path, 0);
}
ARIL_SYSCALL(264, renameat, sys_renameat, "fd path fd path");

Result<void> sys_rename(UserPath old_path, UserPath new_path) {
  return sys_renameat2(kAtCwd, old_path, kAtCwd, new_path, 0);
}
ARIL_SYSCALL(82, rename, sys_rename, "path path");

Result<void> sys_linkat(int old_fd, UserPath old_path, int new_fd, UserPath new_path,
                        uint32_t flags) {
  if ((flags & ~(kAtSymlinkFollow | kAtEmptyPath)) != 0) return fail(Errno::kInval);
  vfs::LookupContext context = caller_lookup_context();
  uint32_t lookup = flags & kAtEmptyPath;
  if ((flags & kAtSymlinkFollow) == 0) lookup |= kAtSymlinkNoFollow;
  vfs::Path source = ARIL_TRY(place_of(context, old_fd, old_path, lookup));
  std::string new_name = ARIL_TRY(read_path(new_path));
  vfs::Path start = ARIL_TRY(start_of(new_fd, new_name));
  return vfs::make_link(context, source, start, new_name);
}
ARIL_SYSCALL(265, linkat, sys_linkat, "fd path fd path hex");

Result<void> sys_link(UserPath old_path, UserPath new_path) {
  return sys_linkat(kAtCwd, old_path, kAtCwd, new_path, 0);
}
ARIL_SYSCALL(86, link, sys_link, "path path");

Result<void> sys_symlinkat(UserPath target, int directory_fd, UserPath path) {
  std::string text = ARIL_TRY(read_path(target));
  if (text.empty()) return fail(Errno::kNoEnt);
  std::string name = ARIL_TRY(read_path(path));
  vfs::Path start = ARIL_TRY(start_of(directory_fd, name));
  return vfs::make_symlink(caller_lookup_context(), text, start, name);
}
ARIL_SYSCALL(266, symlinkat, sys_symlinkat, "path fd path");

Result<void> sys_symlink(UserPath target, UserPath path) {
  return sys_symlinkat(target, kAtCwd, path);
}
ARIL_SYSCALL(88, symlink, sys_symlink, "path path");

Result<int64_t> sys_readlinkat(int directory_fd, UserPath path, UserPtr<char> out, int size) {
  if (size <= 0) return fail(Errno::kInval);
  std::string name = ARIL_TRY(read_path(path));
  std::string text;
  if (name.empty() && directory_fd != kAtCwd) {
    vfs::Path place = ARIL_TRY(place_of(directory_fd));
    if (!place.inode().is_symlink()) return fail(Errno::kNoEnt);
    text = ARIL_TRY(place.inode().read_link());
  } else {
    text = ARIL_TRY(
        vfs::read_link(caller_lookup_context(), ARIL_TRY(start_of(directory_fd, name)), name));
  }
  size_t count = std::min(text.size(), static_cast<size_t>(size));
  ARIL_TRY(out.write_array(std::span(text.data(), count)));
  return static_cast<int64_t>(count);
}
ARIL_SYSCALL(267, readlinkat, sys_readlinkat, "fd path >str int");

Result<int64_t> sys_readlink(UserPath path, UserPtr<char> out, int size) {
  return sys_readlinkat(kAtCwd, path, out, size);
}
ARIL_SYSCALL(89, readlink, sys_readlink, "path >str int");

/// The call's dev_t is the old encoding: 12 bits of major, 20 of minor [Linux new_decode_dev].
uint64_t decode_device(uint32_t device) {
  return vfs::mode::make_device((device & 0xfff00) >> 8,
                                (device & 0xff) | ((device >> 12) & 0xfff00));
}

Result<void> sys_mknodat(int directory_fd, UserPath path, uint32_t mode, uint32_t device) {
  if ((mode & vfs::mode::kTypeMask) == 0) mode |= vfs::mode::kRegular;
  uint32_t type = mode & vfs::mode::kTypeMask;
  if (type == vfs::mode::kDirectory) return fail(Errno::kPerm);
  if (type == vfs::mode::kSymlink) return fail(Errno::kInval);
  std::string name = ARIL_TRY(read_path(path));
  vfs::Path start = ARIL_TRY(start_of(directory_fd, name));
  ARIL_TRY(vfs::make_node(caller_lookup_context(), start, name, mode, decode_device(device)));
  return {};
}
ARIL_SYSCALL(259, mknodat, sys_mknodat, "fd path mode uint");

Result<void> sys_mknod(UserPath path, uint32_t mode, uint32_t device) {
  return sys_mknodat(kAtCwd, path, mode, device);
}
ARIL_SYSCALL(133, mknod, sys_mknod, "path mode uint");

}  // namespace

}  // namespace aril::linux_abi
