#include "fs/vfs/operations.hpp"
#include "fs/vfs/watch.hpp"
#include "permissions.hpp"

namespace aril::vfs {

Result<FileStatus> status(const Path& path) { return path.inode().status(); }

Result<FileSystemStatus> file_system_status(const Path& path) {
  static constexpr uint64_t kFlagsValid = 0x20;  // ST_VALID
  FileSystemStatus status = path.mount().file_system().status();
  uint64_t device = path.mount().file_system().device();
  status.id = device;
  MountFlags flags = path.mount().flags();
  status.mount_flags = kFlagsValid;
  if (path.mount().is_read_only()) status.mount_flags |= 1;
  if (has(flags, MountFlags::kNoSuid)) status.mount_flags |= 2;
  if (has(flags, MountFlags::kNoDev)) status.mount_flags |= 4;
  if (has(flags, MountFlags::kNoExec)) status.mount_flags |= 8;
  if (has(flags, MountFlags::kNoAtime)) status.mount_flags |= 1024;
  if (has(flags, MountFlags::kRelatime)) status.mount_flags |= 4096;
  return status;
}

Result<void> access(const LookupContext& context, const Path& path, Access wanted) {
  Inode& inode = path.inode();
  if (has(wanted, Access::kExecute) && inode.is_regular() &&
      has(path.mount().flags(), MountFlags::kNoExec))
    return fail(Errno::kAcces);
  ARIL_TRY(check_access(inode, context.identity, wanted));
  bool on_disk = inode.is_regular() || inode.is_directory() || inode.is_symlink();
  if (has(wanted, Access::kWrite) && on_disk) return require_writable_mount(path);
  return {};
}

namespace {

Result<void> set_and_tell(const Path& path, const AttributeChange& change) {
  ARIL_TRY(path.inode().set_attributes(change));
  announce(path, FileEvent::kAttributes);
  return {};
}

}  // namespace

Result<void> change_mode(const LookupContext& context, const Path& path, uint32_t permissions) {
  ARIL_TRY(require_writable_mount(path));
  Inode& inode = path.inode();
  if (inode.is_symlink()) return fail(Errno::kOpNotSupp);
  if (!owns(context, inode)) return fail(Errno::kPerm);
  uint32_t mode = permissions & mode::kPermissions;
  if (!context.identity.has_override && !context.identity.in_group(inode.gid()))
    mode &= ~mode::kSetGid;
  return set_and_tell(path, {.mode = mode});
}

namespace {

/// The mode without set-user-ID and set-group-ID. The latter stays on a file that its group may not
/// execute (it once meant mandatory locking), for members of the group.
uint32_t without_lent_rights(const Identity& who, const Inode& inode) {
  uint32_t mode = inode.mode();
  uint32_t kept = mode & ~mode::kSetUid;
  bool member = who.has_override || who.in_group(inode.gid());
  if ((mode & 010) != 0 || !member) kept &= ~mode::kSetGid;
  return kept;
}

}  // namespace

Result<void> change_owner(const LookupContext& context, const Path& path,
                          std::optional<uint32_t> uid, std::optional<uint32_t> gid) {
  ARIL_TRY(require_writable_mount(path));
  Inode& inode = path.inode();
  const Identity& who = context.identity;
  if (!who.has_override) {
    bool owner = who.uid == inode.uid();
    if (uid && !(owner && *uid == inode.uid())) return fail(Errno::kPerm);
    if (gid && !(owner && (who.in_group(*gid) || *gid == inode.gid()))) return fail(Errno::kPerm);
  }
  AttributeChange change{.uid = uid, .gid = gid};
  uint32_t mode = inode.mode();
  if (!inode.is_directory()) {
    // [chown(2)] The bits that lend rights go with the owner.
    uint32_t kept = without_lent_rights(who, inode);
    if (kept != mode) {
      if (!owns(context, inode)) return fail(Errno::kPerm);
      change.mode = kept & mode::kPermissions;
    }
  }
  return set_and_tell(path, change);
}

Result<void> change_times(const LookupContext& context, const Path& path, TimeChange accessed,
                          TimeChange modified) {
  using Kind = TimeChange::Kind;
  if (accessed.kind == Kind::kOmit && modified.kind == Kind::kOmit) return {};
  ARIL_TRY(require_writable_mount(path));
  Inode& inode = path.inode();
  bool both_now = accessed.kind == Kind::kNow && modified.kind == Kind::kNow;
  if (!owns(context, inode)) {
    if (!both_now) return fail(Errno::kPerm);
    ARIL_TRY(check_access(inode, context.identity, Access::kWrite));
  }
  int64_t now = wall_clock_ns();
  auto value = [&](const TimeChange& change) -> std::optional<int64_t> {
    if (change.kind == Kind::kOmit) return std::nullopt;
    return change.kind == Kind::kNow ? now : change.ns;
  };
  return set_and_tell(path, {.access_ns = value(accessed), .modify_ns = value(modified)});
}

Result<void> drop_lent_rights(const LookupContext& context, Inode& inode) {
  if (context.identity.has_override) return {};
  uint32_t kept = without_lent_rights(context.identity, inode);
  if (kept == inode.mode()) return {};
  return inode.set_attributes({.mode = kept & mode::kPermissions});
}

Result<void> truncate(const LookupContext& context, const Path& path, uint64_t size) {
  Inode& inode = path.inode();
  if (inode.is_directory()) return fail(Errno::kIsDir);
  if (!inode.is_regular()) return fail(Errno::kInval);
  ARIL_TRY(require_writable_mount(path));
  ARIL_TRY(check_access(inode, context.identity, Access::kWrite));
  if (inode.is_executing()) return fail(Errno::kTxtBsy);
  ARIL_TRY(drop_lent_rights(context, inode));
  LockGuard guard(inode.mutex());
  ARIL_TRY(inode.resize_locked(size));
  announce(path, FileEvent::kModify);
  return {};
}

namespace {

constexpr size_t kXattrNameLimit = 255;
constexpr size_t kXattrSizeLimit = 65536;

enum class XattrUse : uint8_t { kRead, kWrite };

/// [xattr(7)]: who may use which name space.
Result<void> check_xattr(const LookupContext& context, const Path& path, std::string_view name,
                         XattrUse use) {
  if (name.empty() || name.size() > kXattrNameLimit) return fail(Errno::kRange);
  bool write = use == XattrUse::kWrite;
  Inode& inode = path.inode();
  if (write) ARIL_TRY(require_writable_mount(path));
  if (name.starts_with("trusted.")) {
    if (!context.identity.has_override) return fail(write ? Errno::kPerm : Errno::kNoData);
    return {};
  }
  if (name.starts_with("security.")) {
    if (write && !context.identity.has_override) return fail(Errno::kPerm);
    return {};
  }
  if (name.starts_with("user.")) {
    if (!inode.is_regular() && !inode.is_directory())
      return fail(write ? Errno::kPerm : Errno::kNoData);
    bool sticky = inode.is_directory() && (inode.mode() & mode::kSticky) != 0;
    if (write && sticky && !owns(context, inode)) return fail(Errno::kPerm);
    return check_access(inode, context.identity, write ? Access::kWrite : Access::kRead);
  }
  return fail(Errno::kOpNotSupp);
}

}  // namespace

Result<std::vector<std::byte>> get_xattr(const LookupContext& context, const Path& path,
                                         std::string_view name) {
  ARIL_TRY(check_xattr(context, path, name, XattrUse::kRead));
  return path.inode().get_xattr(name);
}

Result<void> set_xattr(const LookupContext& context, const Path& path, std::string_view name,
                       std::span<const std::byte> value, XattrFlags flags) {
  if (value.size() > kXattrSizeLimit) return fail(Errno::k2Big);
  ARIL_TRY(check_xattr(context, path, name, XattrUse::kWrite));
  ARIL_TRY(path.inode().set_xattr(name, value, flags));
  announce(path, FileEvent::kAttributes);
  return {};
}

Result<void> remove_xattr(const LookupContext& context, const Path& path, std::string_view name) {
  ARIL_TRY(check_xattr(context, path, name, XattrUse::kWrite));
  ARIL_TRY(path.inode().remove_xattr(name));
  announce(path, FileEvent::kAttributes);
  return {};
}

Result<std::string> list_xattrs(const LookupContext& context, const Path& path) {
  std::string all = ARIL_TRY(path.inode().list_xattrs());
  if (context.identity.has_override) return all;
  // Names of trusted attributes are for the privileged only.
  std::string visible;
  for (size_t at = 0; at < all.size();) {
    std::string_view name(all.c_str() + at);
    if (!name.starts_with("trusted.")) visible.append(name).push_back('\0');
    at += name.size() + 1;
  }
  return visible;
}

}  // namespace aril::vfs
