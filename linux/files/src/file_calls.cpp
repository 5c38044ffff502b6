#include "file_calls.hpp"

#include "linux/signal/signal.hpp"

namespace aril::linux_abi {

Result<RefPtr<File>> usable_file_of(int fd) {
  RefPtr<File> file = ARIL_TRY(file_of(fd));
  if (has(file->flags(), OpenFlags::kPath)) return fail(Errno::kBadF);
  return file;
}

Result<vfs::Path> start_of(int directory_fd, std::string_view name) {
  if (name.starts_with('/')) return vfs::Path();
  if (directory_fd == kAtCwd) return current_process().fs().cwd();
  RefPtr<File> file = ARIL_TRY(file_of(directory_fd));
  const vfs::Path* path = vfs::path_of(*file);
  if (path == nullptr) return fail(Errno::kNotDir);
  return *path;
}

Result<vfs::Path> place_of(const vfs::LookupContext& context, int directory_fd, UserPath path,
                           uint32_t flags) {
  std::string name = ARIL_TRY(read_path(path));
  if (name.empty() && (flags & kAtEmptyPath) != 0 && directory_fd != kAtCwd)
    return place_of(directory_fd);
  auto lookup = vfs::LookupFlags::kNone;
  if ((flags & kAtSymlinkNoFollow) == 0) lookup |= vfs::LookupFlags::kFollow;
  if ((flags & kAtEmptyPath) != 0) lookup |= vfs::LookupFlags::kEmptyPath;
  vfs::Path start = ARIL_TRY(start_of(directory_fd, name));
  return vfs::resolve(context, start, name, lookup);
}

Result<vfs::Path> place_of(int fd) {
  RefPtr<File> file = ARIL_TRY(file_of(fd));
  const vfs::Path* path = vfs::path_of(*file);
  if (path == nullptr) return fail(Errno::kInval);
  return *path;
}

uint64_t file_size_limit() {
  Process& process = current_process();
  LockGuard guard(process.mutex());
  return process.limits[Resource::kFileSize].current;
}

Result<void> check_file_size(uint64_t size) {
  if (size <= file_size_limit()) return {};
  raise_signal(kSigXfsz);
  return fail(Errno::kFBig);
}

Result<int64_t> finish_write(File& file, Result<size_t> result) {
  if (result) return static_cast<int64_t>(*result);
  if (result.error() == Errno::kPipe && file.raises_broken_pipe()) raise_signal(kSigPipe);
  return fail(result.error());
}

}  // namespace aril::linux_abi
