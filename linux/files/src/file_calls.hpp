#pragma once
#include <string>

#include "fs/vfs/open_file.hpp"
#include "fs/vfs/operations.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/files/file_table.hpp"
#include "linux/process/fs_context.hpp"
#include "linux/process/process.hpp"

/// What the calls on files share. [open(2)], [openat(2)].
namespace aril::linux_abi {

inline constexpr int kAtCwd = -100;
inline constexpr uint32_t kAtSymlinkNoFollow = 0x100, kAtEffectiveAccess = 0x200,
                          kAtRemoveDir = 0x200, kAtSymlinkFollow = 0x400, kAtNoAutomount = 0x800,
                          kAtEmptyPath = 0x1000, kAtStatxMask = 0x6000;

using UserPath = UserPtr<char>;

inline FileTable& files() { return current_process().files(); }
inline Result<RefPtr<File>> file_of(int fd) { return files().get(fd); }
/// kBadF for an O_PATH descriptor, which can be named but not used.
Result<RefPtr<File>> usable_file_of(int fd);

inline Result<std::string> read_path(UserPath path) {
  return string_from_user(path.address(), vfs::kPathLimit);
}
/// Where a relative name starts; for an absolute one a null path. kBadF, kNotDir.
Result<vfs::Path> start_of(int directory_fd, std::string_view name);
/// The place that an `*at` call means; `flags`: kAtSymlinkNoFollow, kAtEmptyPath.
Result<vfs::Path> place_of(const vfs::LookupContext& context, int directory_fd, UserPath path,
                           uint32_t flags);
/// The place of an open file. kBadF; kInval when it has none.
Result<vfs::Path> place_of(int fd);

/// RLIMIT_FSIZE.
uint64_t file_size_limit();
/// kFBig, with SIGXFSZ, when a file may not become `size` bytes long.
Result<void> check_file_size(uint64_t size);

/// The end of a write: a broken pipe is also signalled.
Result<int64_t> finish_write(File& file, Result<size_t> result);

}  // namespace aril::linux_abi
