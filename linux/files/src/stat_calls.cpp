#include "file_calls.hpp"
#include "linux/abi/time.hpp"

/// stat, lstat, fstat, newfstatat, statx, access, faccessat, faccessat2, statfs, fstatfs.
namespace aril::linux_abi {

namespace {

/// struct stat.
struct LinuxStat {
  uint64_t device, inode, link_count;
  uint32_t mode, uid, gid, padding;
  uint64_t special_device;
  int64_t size, block_size, blocks;
  Timespec accessed, modified, changed;
  int64_t unused[3];
};
static_assert(sizeof(LinuxStat) == 144);

LinuxStat to_linux(const FileStatus& status) {
  LinuxStat out{};
  out.device = status.device;
  out.inode = status.inode;
  out.link_count = status.link_count;
  out.mode = status.mode;
  out.uid = status.uid;
  out.gid = status.gid;
  out.special_device = status.special_device;
  out.size = static_cast<int64_t>(status.size);
  out.block_size = static_cast<int64_t>(status.block_size);
  out.blocks = static_cast<int64_t>(status.blocks_512);
  out.accessed = Timespec::from_ns(status.access_ns);
  out.modified = Timespec::from_ns(status.modify_ns);
  out.changed = Timespec::from_ns(status.change_ns);
  return out;
}

/// Also of files without a place: fstat(3) of a pipe comes as AT_EMPTY_PATH.
Result<FileStatus> status_at(int directory_fd, UserPath path, uint32_t flags) {
  if ((flags & kAtEmptyPath) != 0 && directory_fd != kAtCwd) {
    char first = ARIL_TRY(path.read());
    if (first == '\0') return ARIL_TRY(file_of(directory_fd))->status();
  }
  return vfs::status(ARIL_TRY(place_of(caller_lookup_context(), directory_fd, path, flags)));
}

Result<void> sys_newfstatat(int directory_fd, UserPath path, UserPtr<LinuxStat> out,
                            uint32_t flags) {
  if ((flags & ~(kAtSymlinkNoFollow | kAtNoAutomount | kAtEmptyPath)) != 0)
    return fail(Errno::kInval);
  return out.write(to_linux(ARIL_TRY(status_at(directory_fd, path, flags))));
}
ARIL_SYSCALL(262, newfstatat, sys_newfstatat, "fd path >ptr hex");

Result<void> sys_stat(UserPath path, UserPtr<LinuxStat> out) {
  return sys_newfstatat(kAtCwd, path, out, 0);
}
ARIL_SYSCALL(4, stat, sys_stat, "path >ptr");

Result<void> sys_lstat(UserPath path, UserPtr<LinuxStat> out) {
  return sys_newfstatat(kAtCwd, path, out, kAtSymlinkNoFollow);
}
ARIL_SYSCALL(6, lstat, sys_lstat, "path >ptr");

Result<void> sys_fstat(int fd, UserPtr<LinuxStat> out) {
  return out.write(to_linux(ARIL_TRY(ARIL_TRY(file_of(fd))->status())));
}
ARIL_SYSCALL(5, fstat, sys_fstat, "fd >ptr");

/// struct statx_timestamp.
struct StatxTime {
  int64_t seconds;
  uint32_t nanoseconds;
  int32_t reserved;

  static StatxTime from_ns(int64_t ns) {
    Timespec time = Timespec::from_ns(ns);
    return {time.seconds, static_cast<uint32_t>(time.nanoseconds), 0};
  }
};

/// struct statx.
struct LinuxStatx {
  uint32_t mask, block_size;
  uint64_t attributes;
  uint32_t link_count, uid, gid;
  uint16_t mode, padding0;
  uint64_t inode, size, blocks, attributes_mask;
  StatxTime accessed, born, changed, modified;
  uint32_t special_major, special_minor, device_major, device_minor;
  uint64_t mount_id;
  uint32_t direct_io_memory_alignment, direct_io_offset_alignment;
  uint64_t spare[12];
};
static_assert(sizeof(LinuxStatx) == 256);

Result<void> sys_statx(int directory_fd, UserPath path, uint32_t flags, uint32_t mask,
                       UserPtr<LinuxStatx> out) {
  constexpr uint32_t kBasic = 0x7ff, kBirth = 0x800, kReserved = 1u << 31;
  if ((flags & ~(kAtSymlinkNoFollow | kAtNoAutomount | kAtEmptyPath | kAtStatxMask)) != 0 ||
      (flags & kAtStatxMask) == kAtStatxMask || (mask & kReserved) != 0)
    return fail(Errno::kInval);
  FileStatus status = ARIL_TRY(status_at(directory_fd, path, flags));
  LinuxStatx result{};
  result.mask = kBasic;
  if (status.birth_ns != 0) result.mask |= kBirth;
  result.block_size = static_cast<uint32_t>(status.block_size);
  result.link_count = static_cast<uint32_t>(status.link_count);
  result.uid = status.uid;
  result.gid = status.gid;
  result.mode = static_cast<uint16_t>(status.mode);
  result.inode = status.inode;
  result.size = status.size;
  result.blocks = status.blocks_512;
  result.accessed = StatxTime::from_ns(status.access_ns);
  result.born = StatxTime::from_ns(status.birth_ns);
  result.changed = StatxTime::from_ns(status.change_ns);
  result.modified = StatxTime::from_ns(status.modify_ns);
  result.special_major = vfs::mode::major_of(status.special_device);
  result.special_minor = vfs::mode::minor_of(status.special_device);
  result.device_major = vfs::mode::major_of(status.device);
  result.device_minor = vfs::mode::minor_of(status.device);
  return out.write(result);
}
ARIL_SYSCALL(332, statx, sys_statx, "fd path hex hex >ptr");

Result<void> sys_faccessat2(int directory_fd, UserPath path, uint32_t wanted, uint32_t flags) {
  if (wanted > 7 || (flags & ~(kAtEffectiveAccess | kAtSymlinkNoFollow | kAtEmptyPath)) != 0)
    return fail(Errno::kInval);
  vfs::LookupContext context = caller_lookup_context();
  if ((flags & kAtEffectiveAccess) == 0) {
    // [access(2)] For the real ids, and their capabilities: root's alone.
    const Credentials& credentials = current_task().credentials;
    context.identity.uid = credentials.uid;
    context.identity.gid = credentials.gid;
    context.identity.has_override = credentials.uid == 0 && context.identity.has_override;
  }
  vfs::Path place = ARIL_TRY(place_of(context, directory_fd, path, flags));
  return vfs::access(context, place, static_cast<vfs::Access>(wanted));
}
ARIL_SYSCALL(439, faccessat2, sys_faccessat2, "fd path int hex");

Result<void> sys_faccessat(int directory_fd, UserPath path, uint32_t wanted) {
  return sys_faccessat2(directory_fd, path, wanted, 0);
}
ARIL_SYSCALL(269, faccessat, sys_faccessat, "fd path int");

Result<void> sys_access(UserPath path, uint32_t wanted) {
  return sys_faccessat2(kAtCwd, path, wanted, 0);
}
ARIL_SYSCALL(21, access, sys_access, "path int");

/// struct statfs.
struct LinuxStatfs {
  int64_t type, block_size;
  uint64_t blocks, blocks_free, blocks_available, files, files_free;
  uint32_t id[2];
  int64_t name_length, fragment_size, flags, spare[4];
};
static_assert(sizeof(LinuxStatfs) == 120);

LinuxStatfs to_linux(const vfs::FileSystemStatus& status) {
  constexpr int64_t kFlagsValid = 0x20;  // ST_VALID
  LinuxStatfs out{};
  out.type = static_cast<int64_t>(status.magic);
  out.block_size = out.fragment_size = static_cast<int64_t>(status.block_size);
  out.blocks = status.blocks;
  out.blocks_free = out.blocks_available = status.blocks_free;
  out.files = status.files;
  out.files_free = status.files_free;
  out.id[0] = static_cast<uint32_t>(status.id);
  out.id[1] = static_cast<uint32_t>(status.id >> 32);
  out.name_length = static_cast<int64_t>(status.name_limit);
  out.flags = static_cast<int64_t>(status.mount_flags) | kFlagsValid;
  return out;
}

Result<void> sys_statfs(UserPath path, UserPtr<LinuxStatfs> out) {
  vfs::Path place = ARIL_TRY(place_of(caller_lookup_context(), kAtCwd, path, 0));
  return out.write(to_linux(ARIL_TRY(vfs::file_system_status(place))));
}
ARIL_SYSCALL(137, statfs, sys_statfs, "path >ptr");

Result<void> sys_fstatfs(int fd, UserPtr<LinuxStatfs> out) {
  RefPtr<File> file = ARIL_TRY(file_of(fd));
  if (const vfs::Path* path = vfs::path_of(*file))
    return out.write(to_linux(ARIL_TRY(vfs::file_system_status(*path))));
  constexpr uint64_t kAnonymousInodeMagic = 0x09041934;
  return out.write(to_linux(vfs::FileSystemStatus{.magic = kAnonymousInodeMagic}));
}
ARIL_SYSCALL(138, fstatfs, sys_fstatfs, "fd >ptr");

}  // namespace

}  // namespace aril::linux_abi
