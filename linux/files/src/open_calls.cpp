#include <algorithm>

#include "file_calls.hpp"

/// open, openat, openat2, creat, close, close_range.
namespace aril::linux_abi {

namespace {

CloseOnExec close_on_exec_of(OpenFlags flags) {
  return has(flags, OpenFlags::kCloseOnExec) ? CloseOnExec::kYes : CloseOnExec::kNo;
}

Result<int> do_open(int directory_fd, UserPath path, OpenFlags flags, uint32_t permissions,
                    vfs::LookupFlags resolve) {
  std::string name = ARIL_TRY(read_path(path));
  // [openat2(2)] An absolute name too is looked up from the directory where that is the limit.
  bool is_bound = has(resolve, vfs::LookupFlags::kInRoot | vfs::LookupFlags::kBeneath);
  vfs::Path start = ARIL_TRY(start_of(directory_fd, is_bound ? std::string_view() : name));
  RefPtr<File> file = ARIL_TRY(vfs::open(caller_lookup_context(), start, name,
                                         (flags & ~OpenFlags::kCloseOnExec) | OpenFlags::kLargeFile,
                                         permissions & vfs::mode::kPermissions, resolve));
  return files().install(std::move(file), close_on_exec_of(flags));
}

Result<int> sys_openat(int directory_fd, UserPath path, uint32_t flags, uint32_t permissions) {
  return do_open(directory_fd, path, static_cast<OpenFlags>(flags), permissions,
                 vfs::LookupFlags::kNone);
}
ARIL_SYSCALL(257, openat, sys_openat, "fd path oflags mode");

Result<int> sys_open(UserPath path, uint32_t flags, uint32_t permissions) {
  return sys_openat(kAtCwd, path, flags, permissions);
}
ARIL_SYSCALL(2, open, sys_open, "path oflags mode");

Result<int> sys_creat(UserPath path, uint32_t permissions) {
  constexpr auto kFlags = OpenFlags::kCreate | OpenFlags::kWriteOnly | OpenFlags::kTruncate;
  return sys_openat(kAtCwd, path, std::to_underlying(kFlags), permissions);
}
ARIL_SYSCALL(85, creat, sys_creat, "path mode");

/// struct open_how.
struct OpenHow {
  uint64_t flags, mode, resolve;
};

/// [openat2(2)] A caller that knows a longer structure may leave the rest zero.
Result<OpenHow> read_open_how(uint64_t address, uint64_t size) {
  if (size < sizeof(OpenHow)) return fail(Errno::kInval);
  if (size > kPageSize) return fail(Errno::k2Big);
  OpenHow how = ARIL_TRY(UserPtr<OpenHow>(address).read());
  for (uint64_t offset = sizeof(OpenHow); offset < size; ++offset) {
    if (ARIL_TRY(UserPtr<uint8_t>(address + offset).read()) != 0) return fail(Errno::k2Big);
  }
  return how;
}

Result<vfs::LookupFlags> resolve_flags(uint64_t resolve) {
  using vfs::LookupFlags;
  // RESOLVE_NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, IN_ROOT [linux/openat2.h].
  constexpr LookupFlags kBits[] = {LookupFlags::kNoCrossing, LookupFlags::kNoMagicLinks,
                                   LookupFlags::kNoSymlinks, LookupFlags::kBeneath,
                                   LookupFlags::kInRoot};
  if (resolve >> std::size(kBits) != 0) return fail(Errno::kInval);
  auto flags = LookupFlags::kNone;
  for (size_t i = 0; i < std::size(kBits); ++i)
    if ((resolve >> i & 1) != 0) flags |= kBits[i];
  if (has(flags, LookupFlags::kBeneath) && has(flags, LookupFlags::kInRoot))
    return fail(Errno::kInval);
  return flags;
}

Result<int> sys_openat2(int directory_fd, UserPath path, UserPtr<OpenHow> user_how, uint64_t size) {
  OpenHow how = ARIL_TRY(read_open_how(user_how.address(), size));
  constexpr uint64_t kKnownFlags = 037777703;
  if ((how.flags & ~kKnownFlags) != 0) return fail(Errno::kInval);
  auto flags = static_cast<OpenFlags>(how.flags);
  bool creates =
      has(flags, OpenFlags::kCreate) || (flags & OpenFlags::kTmpFile) == OpenFlags::kTmpFile;
  if (how.mode != 0 && (!creates || (how.mode & ~uint64_t{vfs::mode::kPermissions}) != 0))
    return fail(Errno::kInval);
  return do_open(directory_fd, path, flags, static_cast<uint32_t>(how.mode),
                 ARIL_TRY(resolve_flags(how.resolve)));
}
ARIL_SYSCALL(437, openat2, sys_openat2, "fd path ptr size");

Result<void> sys_close(int fd) { return files().close(fd); }
ARIL_SYSCALL(3, close, sys_close, "fd");

Result<void> sys_close_range(uint32_t first, uint32_t last, uint32_t flags) {
  constexpr uint32_t kUnshare = 2, kMarkCloseOnExec = 4;
  if ((flags & ~(kUnshare | kMarkCloseOnExec)) != 0 || first > last) return fail(Errno::kInval);
  // Tables that several processes share do not exist yet, so there is nothing to unshare.
  files().close_range(first, last,
                      (flags & kMarkCloseOnExec) != 0 ? FileTable::RangeAction::kMarkCloseOnExec
                                                      : FileTable::RangeAction::kClose);
  return {};
}
ARIL_SYSCALL(436, close_range, sys_close_range, "uint uint hex");

}  // namespace

}  // namespace aril::linux_abi
