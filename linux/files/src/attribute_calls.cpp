#include "file_calls.hpp"
#include "linux/abi/time.hpp"

/// chmod, chown, utimensat and their kin, truncate, fallocate, umask.
namespace aril::linux_abi {

namespace {

Result<void> sys_fchmodat(int directory_fd, UserPath path, uint32_t permissions) {
  vfs::LookupContext context = caller_lookup_context();
  vfs::Path place = ARIL_TRY(place_of(context, directory_fd, path, 0));
  return vfs::change_mode(context, place, permissions & vfs::mode::kPermissions);
}
ARIL_SYSCALL(268, fchmodat, sys_fchmodat, "fd path mode");

Result<void> sys_chmod(UserPath path, uint32_t permissions) {
  return sys_fchmodat(kAtCwd, path, permissions);
}
ARIL_SYSCALL(90, chmod, sys_chmod, "path mode");

Result<void> sys_fchmod(int fd, uint32_t permissions) {
  RefPtr<File> file = ARIL_TRY(usable_file_of(fd));
  const vfs::Path* path = vfs::path_of(*file);
  if (path == nullptr) return {};  // a pipe or socket, whose mode means nothing
  return vfs::change_mode(caller_lookup_context(), *path, permissions & vfs::mode::kPermissions);
}
ARIL_SYSCALL(91, fchmod, sys_fchmod, "fd mode");

std::optional<uint32_t> id_of(uint32_t raw) {
  return raw == ~0u ? std::nullopt : std::optional(raw);
}

Result<void> sys_fchownat(int directory_fd, UserPath path, uint32_t uid, uint32_t gid,
                          uint32_t flags) {
  if ((flags & ~(kAtSymlinkNoFollow | kAtEmptyPath)) != 0) return fail(Errno::kInval);
  vfs::LookupContext context = caller_lookup_context();
  vfs::Path place = ARIL_TRY(place_of(context, directory_fd, path, flags));
  return vfs::change_owner(context, place, id_of(uid), id_of(gid));
}
ARIL_SYSCALL(260, fchownat, sys_fchownat, "fd path int int hex");

Result<void> sys_chown(UserPath path, uint32_t uid, uint32_t gid) {
  return sys_fchownat(kAtCwd, path, uid, gid, 0);
}
ARIL_SYSCALL(92, chown, sys_chown, "path int int");

Result<void> sys_lchown(UserPath path, uint32_t uid, uint32_t gid) {
  return sys_fchownat(kAtCwd, path, uid, gid, kAtSymlinkNoFollow);
}
ARIL_SYSCALL(94, lchown, sys_lchown, "path int int");

Result<void> sys_fchown(int fd, uint32_t uid, uint32_t gid) {
  RefPtr<File> file = ARIL_TRY(usable_file_of(fd));
  const vfs::Path* path = vfs::path_of(*file);
  if (path == nullptr) return {};
  return vfs::change_owner(caller_lookup_context(), *path, id_of(uid), id_of(gid));
}
ARIL_SYSCALL(93, fchown, sys_fchown, "fd int int");

constexpr int64_t kTimeNow = 0x3fffffff, kTimeOmit = 0x3ffffffe;  // UTIME_*

Result<vfs::TimeChange> time_change(const Timespec& time) {
  using Kind = vfs::TimeChange::Kind;
  if (time.nanoseconds == kTimeNow) return vfs::TimeChange{.kind = Kind::kNow};
  if (time.nanoseconds == kTimeOmit) return vfs::TimeChange{.kind = Kind::kOmit};
  if (time.nanoseconds < 0 || time.nanoseconds >= 1'000'000'000) return fail(Errno::kInval);
  Duration since_epoch = Duration::seconds(time.seconds) + Duration::nanoseconds(time.nanoseconds);
  return vfs::TimeChange{.kind = Kind::kSet, .ns = since_epoch.ns};
}

Result<void> set_times(int directory_fd, UserPath path, const Timespec (&times)[2],
                       uint32_t flags) {
  vfs::TimeChange accessed = ARIL_TRY(time_change(times[0]));
  vfs::TimeChange modified = ARIL_TRY(time_change(times[1]));
  vfs::LookupContext context = caller_lookup_context();
  // Without a path the descriptor itself is meant: futimens(3).
  if (!path && directory_fd == kAtCwd) return fail(Errno::kFault);
  vfs::Path place =
      ARIL_TRY(path ? place_of(context, directory_fd, path, flags) : place_of(directory_fd));
  if (accessed.kind == vfs::TimeChange::Kind::kOmit &&
      modified.kind == vfs::TimeChange::Kind::kOmit)
    return {};
  return vfs::change_times(context, place, accessed, modified);
}

constexpr Timespec kNowTimes[2] = {{0, kTimeNow}, {0, kTimeNow}};

Result<void> sys_utimensat(int directory_fd, UserPath path, UserPtr<Timespec> user_times,
                           uint32_t flags) {
  if ((flags & ~(kAtSymlinkNoFollow | kAtEmptyPath)) != 0) return fail(Errno::kInval);
  Timespec times[2] = {kNowTimes[0], kNowTimes[1]};
  if (user_times) ARIL_TRY(user_times.read_array(times));
  return set_times(directory_fd, path, times, flags);
}
ARIL_SYSCALL(280, utimensat, sys_utimensat, "fd path ptr hex");

Result<void> sys_futimesat(int directory_fd, UserPath path, UserPtr<Timeval> user_times) {
  if (!user_times) return set_times(directory_fd, path, kNowTimes, 0);
  Timeval values[2];
  ARIL_TRY(user_times.read_array(values));
  if (values[0].microseconds < 0 || values[0].microseconds >= 1'000'000 ||
      values[1].microseconds < 0 || values[1].microseconds >= 1'000'000)
    return fail(Errno::kInval);
  return set_times(directory_fd, path,
                   {{values[0].seconds, values[0].microseconds * 1000},
                    {values[1].seconds, values[1].microseconds * 1000}},
                   0);
}
ARIL_SYSCALL(261, futimesat, sys_futimesat, "fd path ptr");

Result<void> sys_utimes(UserPath path, UserPtr<Timeval> times) {
  return sys_futimesat(kAtCwd, path, times);
}
ARIL_SYSCALL(235, utimes, sys_utimes, "path ptr");

Result<void> sys_utime(UserPath path, UserPtr<int64_t> times) {
  if (!times) return set_times(kAtCwd, path, kNowTimes, 0);
  int64_t seconds[2];
  ARIL_TRY(times.read_array(seconds));
  return set_times(kAtCwd, path, {{seconds[0], 0}, {seconds[1], 0}}, 0);
}
ARIL_SYSCALL(132, utime, sys_utime, "path ptr");

Result<void> sys_truncate(UserPath path, int64_t size) {
  if (size < 0) return fail(Errno::kInval);
  vfs::LookupContext context = caller_lookup_context();
  vfs::Path place = ARIL_TRY(place_of(context, kAtCwd, path, 0));
  ARIL_TRY(check_file_size(static_cast<uint64_t>(size)));
  return vfs::truncate(context, place, static_cast<uint64_t>(size));
}
ARIL_SYSCALL(76, truncate, sys_truncate, "path off");

Result<void> sys_ftruncate(int fd, int64_t size) {
  if (size < 0) return fail(Errno::kInval);
  RefPtr<File> file = ARIL_TRY(usable_file_of(fd));
  vfs::NodeFile* node = vfs::as_node_file(*file);
  if (node == nullptr) return fail(Errno::kInval);
  if (static_cast<uint64_t>(size) > ARIL_TRY(file->status()).size)
    ARIL_TRY(check_file_size(static_cast<uint64_t>(size)));
  return node->truncate(static_cast<uint64_t>(size));
}
ARIL_SYSCALL(77, ftruncate, sys_ftruncate, "fd off");

Result<void> sys_fallocate(int fd, uint32_t mode, int64_t offset, int64_t length) {
  if (offset < 0 || length <= 0) return fail(Errno::kInval);
  int64_t end;
  if (__builtin_add_overflow(offset, length, &end)) return fail(Errno::kFBig);
  RefPtr<File> file = ARIL_TRY(usable_file_of(fd));
  if (!file->is_writable()) return fail(Errno::kBadF);
  vfs::NodeFile* node = vfs::as_node_file(*file);
  if (node == nullptr) return fail(file->is_pollable() ? Errno::kSPipe : Errno::kNoDev);
  ARIL_TRY(check_file_size(static_cast<uint64_t>(end)));
  return node->allocate(mode, static_cast<uint64_t>(offset), static_cast<uint64_t>(length));
}
ARIL_SYSCALL(285, fallocate, sys_fallocate, "fd hex off off");

Result<int64_t> sys_umask(uint32_t mask) {
  return current_process().fs().umask.exchange(mask & 0777, std::memory_order_relaxed);
}
ARIL_SYSCALL(95, umask, sys_umask, "mode");

}  // namespace

}  // namespace aril::linux_abi
