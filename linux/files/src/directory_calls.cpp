#include <algorithm>
#include <vector>

#include "file_calls.hpp"
#include "fs/vfs/inode.hpp"

/// getdents64, getdents, getcwd, chdir, fchdir, chroot, mkdir, mkdirat, rmdir.
namespace aril::linux_abi {

namespace {

/// Lays entries out as struct linux_dirent64, or as the older struct linux_dirent, which has the
/// type in its last byte. In kernel memory: the walk holds the file system's locks.
class DirentWriter final : public vfs::DirectoryEmitter {
 public:
  enum class Layout : uint8_t { kOld, k64 };
  DirentWriter(Layout layout, std::span<std::byte> room) : layout_(layout), room_(room) {}

  bool emit(std::string_view name, uint64_t inode, uint8_t type, uint64_t next_offset) override {
    size_t header = layout_ == Layout::k64 ? 19 : 18;
    size_t tail = layout_ == Layout::k64 ? 1 : 2;  // the NUL, and the old layout's type
    size_t length = align_up(header + name.size() + tail, 8);
    if (length > room_.size() - used_) {
      full_ = true;
      return false;
    }
    std::byte* entry = room_.data() + used_;
    memset(entry, 0, length);
    auto record_length = static_cast<uint16_t>(length);
    memcpy(entry, &inode, 8);
    memcpy(entry + 8, &next_offset, 8);
    memcpy(entry + 16, &record_length, 2);
    if (layout_ == Layout::k64) {
      entry[18] = std::byte{type};
    } else {
      entry[length - 1] = std::byte{type};
    }
    memcpy(entry + header, name.data(), name.size());
    used_ += length;
    return true;
  }
  [[nodiscard]] std::span<const std::byte> written() const { return room_.first(used_); }
  [[nodiscard]] bool is_too_small() const { return full_ && used_ == 0; }

 private:
  const Layout layout_;
  std::span<std::byte> room_;
  size_t used_ = 0;
  bool full_ = false;
};

Result<int64_t> read_entries(int fd, uint64_t address, uint32_t count,
                             DirentWriter::Layout layout) {
  RefPtr<File> file = ARIL_TRY(usable_file_of(fd));
  vfs::NodeFile* node = vfs::as_node_file(*file);
  if (node == nullptr) return fail(Errno::kNotDir);
  constexpr uint32_t kMaxBatch = 32 * 1024;
  size_t size = std::min(count, kMaxBatch);
  std::unique_ptr<std::byte[]> room(new (std::nothrow) std::byte[std::max<size_t>(size, 1)]);
  if (room == nullptr) return fail(Errno::kNoMem);
  DirentWriter writer(layout, {room.get(), size});
  ARIL_TRY(node->read_directory(writer));
  if (writer.is_too_small()) return fail(Errno::kInval);
  ARIL_TRY(copy_to_user(address, writer.written()));
  return static_cast<int64_t>(writer.written().size());
}

Result<int64_t> sys_getdents64(int fd, UserPtr<char> out, uint32_t count) {
  return read_entries(fd, out.address(), count, DirentWriter::Layout::k64);
}
ARIL_SYSCALL(217, getdents64, sys_getdents64, "fd >ptr uint");

Result<int64_t> sys_getdents(int fd, UserPtr<char> out, uint32_t count) {
  return read_entries(fd, out.address(), count, DirentWriter::Layout::kOld);
}
ARIL_SYSCALL(78, getdents, sys_getdents, "fd >ptr uint");

Result<int64_t> sys_getcwd(UserPtr<char> out, uint64_t size) {
  FsContext& fs = current_process().fs();
  vfs::Path cwd = fs.cwd();
  if (cwd.dentry().is_deleted()) return fail(Errno::kNoEnt);
  std::string text = vfs::absolute_path(fs.mounts(), cwd, fs.root());
  if (text.size() + 1 > size) return fail(Errno::kRange);
  ARIL_TRY(out.write_array(std::span(text.c_str(), text.size() + 1)));
  return static_cast<int64_t>(text.size() + 1);
}
ARIL_SYSCALL(79, getcwd, sys_getcwd, ">str size");

/// A directory that may be entered.
Result<vfs::Path> enterable(const vfs::LookupContext& context, vfs::Path place) {
  if (!place.inode().is_directory()) return fail(Errno::kNotDir);
  ARIL_TRY(vfs::check_access(place.inode(), context.identity, vfs::Access::kExecute));
  return place;
}

Result<void> sys_chdir(UserPath path) {
  vfs::LookupContext context = caller_lookup_context();
  vfs::Path place = ARIL_TRY(place_of(context, kAtCwd, path, 0));
  current_process().fs().set_cwd(ARIL_TRY(enterable(context, std::move(place))));
  return {};
}
ARIL_SYSCALL(80, chdir, sys_chdir, "path");

Result<void> sys_fchdir(int fd) {
  auto place = place_of(fd);
  if (!place) return fail(place.error() == Errno::kInval ? Errno::kNotDir : place.error());
  current_process().fs().set_cwd(ARIL_TRY(enterable(caller_lookup_context(), std::move(*place))));
  return {};
}
ARIL_SYSCALL(81, fchdir, sys_fchdir, "fd");

Result<void> sys_chroot(UserPath path) {
  vfs::LookupContext context = caller_lookup_context();
  vfs::Path place = ARIL_TRY(enterable(context, ARIL_TRY(place_of(context, kAtCwd, path, 0))));
  if (!current_task().credentials.can(Capability::kSysChroot)) return fail(Errno::kPerm);
  current_process().fs().set_root(std::move(place));
  return {};
}
ARIL_SYSCALL(161, chroot, sys_chroot, "path");

Result<void> sys_mkdirat(int directory_fd, UserPath path, uint32_t permissions) {
  std::string name = ARIL_TRY(read_path(path));
  vfs::Path start = ARIL_TRY(start_of(directory_fd, name));
  ARIL_TRY(vfs::make_directory(caller_lookup_context(), start, name,
                               permissions & (0777 | vfs::mode::kSticky)));
  return {};
}
ARIL_SYSCALL(258, mkdirat, sys_mkdirat, "fd path mode");

Result<void> sys_mkdir(UserPath path, uint32_t permissions) {
  return sys_mkdirat(kAtCwd, path, permissions);
}
ARIL_SYSCALL(83, mkdir, sys_mkdir, "path mode");

Result<void> sys_rmdir(UserPath path) {
  std::string name = ARIL_TRY(read_path(path));
  return vfs::remove_directory(caller_lookup_context(), ARIL_TRY(start_of(kAtCwd, name)), name);
}
ARIL_SYSCALL(84, rmdir, sys_rmdir, "path");

}  // namespace

}  // namespace aril::linux_abi
