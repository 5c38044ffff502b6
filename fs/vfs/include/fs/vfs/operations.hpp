#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "fs/vfs/lookup.hpp"
#include "fs/vfs/mode.hpp"
#include "kernel/io/file.hpp"

/// What the file system calls of Linux do, short of descriptors and application memory. Each `*at`
/// call passes its dirfd's path (or the current directory) as `start`. All check rights and
/// read-only mounts and answer with Linux's errors in Linux's order where programs can tell.
namespace aril::vfs {

/// openat, openat2. `permissions` for a created file, before the umask. kLookup flags other than
/// kFollow, kDirectory (given by O_NOFOLLOW and O_DIRECTORY) come from openat2's RESOLVE_*.
Result<RefPtr<File>> open(const LookupContext& context, const Path& start, std::string_view name,
                          OpenFlags flags, uint32_t permissions,
                          LookupFlags resolve_flags = LookupFlags::kNone);
/// Opens what `path` stands for, without creating; exec, /proc/self/fd.
Result<RefPtr<File>> open_path(const LookupContext& context, const Path& path, OpenFlags flags);

Result<Path> make_directory(const LookupContext& context, const Path& start, std::string_view name,
                            uint32_t permissions);
/// mknod; also the way to bind a Unix socket (`mode` with S_IFSOCK). The new file's place.
Result<Path> make_node(const LookupContext& context, const Path& start, std::string_view name,
                       uint32_t mode, uint64_t device);
Result<void> make_symlink(const LookupContext& context, std::string_view target, const Path& start,
                          std::string_view name);
/// linkat: `source` was resolved by the caller (AT_SYMLINK_FOLLOW, AT_EMPTY_PATH).
Result<void> make_link(const LookupContext& context, const Path& source, const Path& start,
                       std::string_view name);
Result<void> remove_file(const LookupContext& context, const Path& start, std::string_view name);
Result<void> remove_directory(const LookupContext& context, const Path& start,
                              std::string_view name);

enum class RenameFlags : uint32_t { kNone = 0, kNoReplace = 1, kExchange = 2 };  // RENAME_*
ARIL_FLAG_OPERATORS(RenameFlags);
Result<void> rename(const LookupContext& context, const Path& old_start, std::string_view old_name,
                    const Path& new_start, std::string_view new_name, RenameFlags flags);

Result<std::string> read_link(const LookupContext& context, const Path& start,
                              std::string_view name);

// On a place that is known: resolve() it first, or take it from an open file (path_of).
Result<FileStatus> status(const Path& path);
Result<FileSystemStatus> file_system_status(const Path& path);
Result<void> access(const LookupContext& context, const Path& path, Access wanted);
Result<void> change_mode(const LookupContext& context, const Path& path, uint32_t permissions);
/// nullopt leaves that id as it is (-1).
Result<void> change_owner(const LookupContext& context, const Path& path,
                          std::optional<uint32_t> uid, std::optional<uint32_t> gid);
/// utimensat: each time is absent (UTIME_OMIT), now, or a value.
struct TimeChange {
  enum class Kind : uint8_t { kOmit, kNow, kSet } kind = Kind::kNow;
  int64_t ns = 0;
};
Result<void> change_times(const LookupContext& context, const Path& path, TimeChange accessed,
                          TimeChange modified);
/// truncate(2): with a rights check. ftruncate goes through OpenFile.
Result<void> truncate(const LookupContext& context, const Path& path, uint64_t size);

Result<std::vector<std::byte>> get_xattr(const LookupContext& context, const Path& path,
                                         std::string_view name);
Result<void> set_xattr(const LookupContext& context, const Path& path, std::string_view name,
                       std::span<const std::byte> value, XattrFlags flags);
Result<void> remove_xattr(const LookupContext& context, const Path& path, std::string_view name);
Result<std::string> list_xattrs(const LookupContext& context, const Path& path);

}  // namespace aril::vfs
