#include "file_calls.hpp"
#include "fs/vfs/mount.hpp"

/// fsync, fdatasync, sync, syncfs, sync_file_range, readahead, fadvise64.
namespace aril::linux_abi {

namespace {

Result<void> sys_fsync(int fd) { return ARIL_TRY(usable_file_of(fd))->sync(); }
ARIL_SYSCALL(74, fsync, sys_fsync, "fd");

Result<void> sys_fdatasync(int fd) { return ARIL_TRY(usable_file_of(fd))->sync_data(); }
ARIL_SYSCALL(75, fdatasync, sys_fdatasync, "fd");

Result<void> sys_sync() {
  current_process().fs().mounts().sync_all();
  return {};
}
ARIL_SYSCALL(162, sync, sys_sync, "");

Result<void> sys_syncfs(int fd) {
  RefPtr<File> file = ARIL_TRY(usable_file_of(fd));
  const vfs::Path* path = vfs::path_of(*file);
  if (path == nullptr) return {};
  return path->mount().file_system().sync();
}
ARIL_SYSCALL(306, syncfs, sys_syncfs, "fd");

Result<void> sys_sync_file_range(int fd, int64_t offset, int64_t length, uint32_t flags) {
  int64_t end;
  if (flags > 7 || offset < 0 || length < 0 || __builtin_add_overflow(offset, length, &end))
    return fail(Errno::kInval);
  RefPtr<File> file = ARIL_TRY(usable_file_of(fd));
  if (vfs::as_node_file(*file) == nullptr) return fail(Errno::kSPipe);
  // [sync_file_range(2)] To begin writing is a hint, which the write-back thread needs not.
  constexpr uint32_t kBegin = 2;
  if ((flags & ~kBegin) == 0) return {};
  return file->sync_data();
}
ARIL_SYSCALL(277, sync_file_range, sys_sync_file_range, "fd off off hex");

// Hints: the page cache reads ahead by itself.
Result<void> sys_readahead(int fd, int64_t, uint64_t) {
  RefPtr<File> file = ARIL_TRY(file_of(fd));
  if (!file->is_readable()) return fail(Errno::kBadF);
  return vfs::as_node_file(*file) == nullptr ? Result<void>(fail(Errno::kInval)) : Result<void>();
}
ARIL_SYSCALL(187, readahead, sys_readahead, "fd off size");

Result<void> sys_fadvise64(int fd, int64_t, int64_t length, int advice) {
  RefPtr<File> file = ARIL_TRY(usable_file_of(fd));
  if (vfs::as_node_file(*file) == nullptr) return fail(Errno::kSPipe);
  if (length < 0 || advice < 0 || advice > 5) return fail(Errno::kInval);
  return {};
}
ARIL_SYSCALL(221, fadvise64, sys_fadvise64, "fd off off int");

}  // namespace

}  // namespace aril::linux_abi
