#include <vector>

#include "file_calls.hpp"

/// Extended attributes, and file handles, which are not offered.
namespace aril::linux_abi {

namespace {

constexpr uint64_t kNameLimit = 255, kSizeLimit = 65536;  // XATTR_NAME_MAX, XATTR_SIZE_MAX

Result<std::string> read_name(UserPath name) {
  auto text = string_from_user(name.address(), kNameLimit + 1);
  if (!text) return fail(text.error() == Errno::kNameTooLong ? Errno::kRange : text.error());
  if (text->empty()) return fail(Errno::kRange);
  return text;
}

/// [getxattr(2)] Size 0 asks how much there is.
Result<int64_t> hand_out(UserPtr<char> out, uint64_t room, std::span<const std::byte> value) {
  if (room != 0) {
    if (value.size() > room) return fail(Errno::kRange);
    ARIL_TRY(copy_to_user(out.address(), value));
  }
  return static_cast<int64_t>(value.size());
}

Result<vfs::Path> named(UserPath path, uint32_t flags) {
  return place_of(caller_lookup_context(), kAtCwd, path, flags);
}
Result<vfs::Path> opened(int fd) {
  RefPtr<File> file = ARIL_TRY(usable_file_of(fd));
  const vfs::Path* path = vfs::path_of(*file);
  if (path == nullptr) return fail(Errno::kOpNotSupp);
  return *path;
}

Result<int64_t> get(const vfs::Path& place, UserPath name, UserPtr<char> out, uint64_t size) {
  auto value = ARIL_TRY(vfs::get_xattr(caller_lookup_context(), place, ARIL_TRY(read_name(name))));
  return hand_out(out, size, value);
}
Result<void> set(const vfs::Path& place, UserPath name, UserPtr<char> value, uint64_t size,
                 uint32_t flags) {
  if (flags > 2) return fail(Errno::kInval);
  std::string text = ARIL_TRY(read_name(name));
  if (size > kSizeLimit) return fail(Errno::k2Big);
  std::unique_ptr<std::byte[]> bytes(new (std::nothrow) std::byte[size + 1]);
  if (bytes == nullptr) return fail(Errno::kNoMem);
  std::span<std::byte> contents(bytes.get(), size);
  ARIL_TRY(copy_from_user(contents, value.address()));
  return vfs::set_xattr(caller_lookup_context(), place, text, contents,
                        static_cast<vfs::XattrFlags>(flags));
}
Result<int64_t> list(const vfs::Path& place, UserPtr<char> out, uint64_t size) {
  std::string names = ARIL_TRY(vfs::list_xattrs(caller_lookup_context(), place));
  return hand_out(out, size, std::as_bytes(std::span(names)));
}
Result<void> remove(const vfs::Path& place, UserPath name) {
  return vfs::remove_xattr(caller_lookup_context(), place, ARIL_TRY(read_name(name)));
}

Result<void> sys_setxattr(UserPath path, UserPath name, UserPtr<char> value, uint64_t size,
                          uint32_t flags) {
  return set(ARIL_TRY(named(path, 0)), name, value, size, flags);
}
ARIL_SYSCALL(188, setxattr, sys_setxattr, "path str buf size hex");
Result<void> sys_lsetxattr(UserPath path, UserPath name, UserPtr<char> value, uint64_t size,
                           uint32_t flags) {
  return set(ARIL_TRY(named(path, kAtSymlinkNoFollow)), name, value, size, flags);
}
ARIL_SYSCALL(189, lsetxattr, sys_lsetxattr, "path str buf size hex");
Result<void> sys_fsetxattr(int fd, UserPath name, UserPtr<char> value, uint64_t size,
                           uint32_t flags) {
  return set(ARIL_TRY(opened(fd)), name, value, size, flags);
}
ARIL_SYSCALL(190, fsetxattr, sys_fsetxattr, "fd str buf size hex");

Result<int64_t> sys_getxattr(UserPath path, UserPath name, UserPtr<char> out, uint64_t size) {
  return get(ARIL_TRY(named(path, 0)), name, out, size);
}
ARIL_SYSCALL(191, getxattr, sys_getxattr, "path str >buf size");
Result<int64_t> sys_lgetxattr(UserPath path, UserPath name, UserPtr<char> out, uint64_t size) {
  return get(ARIL_TRY(named(path, kAtSymlinkNoFollow)), name, out, size);
}
ARIL_SYSCALL(192, lgetxattr, sys_lgetxattr, "path str >buf size");
Result<int64_t> sys_fgetxattr(int fd, UserPath name, UserPtr<char> out, uint64_t size) {
  return get(ARIL_TRY(opened(fd)), name, out, size);
}
ARIL_SYSCALL(193, fgetxattr, sys_fgetxattr, "fd str >buf size");

Result<int64_t> sys_listxattr(UserPath path, UserPtr<char> out, uint64_t size) {
  return list(ARIL_TRY(named(path, 0)), out, size);
}
ARIL_SYSCALL(194, listxattr, sys_listxattr, "path >buf size");
Result<int64_t> sys_llistxattr(UserPath path, UserPtr<char> out, uint64_t size) {
  return list(ARIL_TRY(named(path, kAtSymlinkNoFollow)), out, size);
}
ARIL_SYSCALL(195, llistxattr, sys_llistxattr, "path >buf size");
Result<int64_t> sys_flistxattr(int fd, UserPtr<char> out, uint64_t size) {
  return list(ARIL_TRY(opened(fd)), out, size);
}
ARIL_SYSCALL(196, flistxattr, sys_flistxattr, "fd >buf size");

Result<void> sys_removexattr(UserPath path, UserPath name) {
  return remove(ARIL_TRY(named(path, 0)), name);
}
ARIL_SYSCALL(197, removexattr, sys_removexattr, "path str");
Result<void> sys_lremovexattr(UserPath path, UserPath name) {
  return remove(ARIL_TRY(named(path, kAtSymlinkNoFollow)), name);
}
ARIL_SYSCALL(198, lremovexattr, sys_lremovexattr, "path str");
Result<void> sys_fremovexattr(int fd, UserPath name) { return remove(ARIL_TRY(opened(fd)), name); }
ARIL_SYSCALL(199, fremovexattr, sys_fremovexattr, "fd str");

Result<void> sys_name_to_handle_at(int, UserPath, uint64_t, uint64_t, uint32_t) {
  return fail(Errno::kOpNotSupp);
}
ARIL_SYSCALL(303, name_to_handle_at, sys_name_to_handle_at, "fd path ptr ptr hex");

}  // namespace

}  // namespace aril::linux_abi
