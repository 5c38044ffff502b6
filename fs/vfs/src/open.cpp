#include "fs/vfs/devices.hpp"
#include "fs/vfs/open_file.hpp"
#include "fs/vfs/operations.hpp"
#include "fs/vfs/watch.hpp"
#include "kernel/log/log.hpp"
#include "permissions.hpp"
#include "walker.hpp"

namespace aril::vfs {
namespace {

constexpr OpenFlags kCreationFlags = OpenFlags::kCreate | OpenFlags::kExclusive |
                                     OpenFlags::kNoCtty | OpenFlags::kTruncate |
                                     OpenFlags::kCloseOnExec;
// O_TMPFILE includes O_DIRECTORY's bit, and kSync kDataSync's: they are tested as wholes.
constexpr OpenFlags kTmpFileBit = OpenFlags{020000000};

bool wants_write(OpenFlags flags) {
  return (flags & OpenFlags::kAccessMask) != OpenFlags::kReadOnly ||
         has(flags, OpenFlags::kTruncate);
}

Access access_of(OpenFlags flags) {
  Access access = Access::kExists;
  OpenFlags mode = flags & OpenFlags::kAccessMask;
  if (mode != OpenFlags::kWriteOnly) access |= Access::kRead;
  if (wants_write(flags)) access |= Access::kWrite;
  return access;
}

/// Linux's may_open: what this kind of file and these rights allow.
Result<void> may_open(const LookupContext& context, const Path& path, OpenFlags flags,
                      bool created) {
  Inode& inode = path.inode();
  if (inode.is_symlink()) return fail(Errno::kLoop);
  if (inode.is_directory() && wants_write(flags)) return fail(Errno::kIsDir);
  bool is_device = inode.type() == mode::kCharDevice || inode.type() == mode::kBlockDevice;
  if (is_device && has(path.mount().flags(), MountFlags::kNoDev)) return fail(Errno::kAcces);
  bool is_special = is_device || inode.type() == mode::kFifo || inode.type() == mode::kSocket;
  if (wants_write(flags) && !is_special) ARIL_TRY(require_writable_mount(path));
  if (!created) ARIL_TRY(check_access(inode, context.identity, access_of(flags)));
  if (has(flags, OpenFlags::kNoAtime) && !owns(context, inode)) return fail(Errno::kPerm);
  return {};
}

Result<RefPtr<File>> finish_open(const LookupContext& context, const Path& path, OpenFlags flags,
                                 bool created) {
  if (has(flags, OpenFlags::kPath)) {
    OpenFlags kept = flags & (OpenFlags::kPath | OpenFlags::kDirectory | OpenFlags::kNoFollow);
    return ARIL_TRY(try_make_ref<PathOnlyFile>(path, kept));
  }
  ARIL_TRY(may_open(context, path, flags, created));
  Inode& inode = path.inode();
  bool writes = wants_write(flags) && inode.is_regular();
  // Before anything is lost to a truncation that the end of the opening would refuse.
  if (writes && inode.is_executing()) return fail(Errno::kTxtBsy);
  if (has(flags, OpenFlags::kTruncate) && inode.is_regular() && !created) {
    ARIL_TRY(drop_lent_rights(context, inode));
    LockGuard guard(inode.mutex());
    ARIL_TRY(inode.resize_locked(0));
    announce(path, FileEvent::kModify);
  }
  OpenFlags dropped = kCreationFlags;
  // Only the opener of a terminal knows what O_NOCTTY is for.
  if (inode.type() == mode::kCharDevice) dropped &= ~OpenFlags::kNoCtty;
  RefPtr<File> file = ARIL_TRY(inode.open(path, flags & ~dropped));
  if (NodeFile* node = writes ? as_node_file(*file) : nullptr; node != nullptr)
    ARIL_TRY(node->claim_writing());
  announce(path, FileEvent::kOpen);
  return file;
}

/// O_CREAT in a directory like /tmp does not open what somebody else put there in wait, unless it
/// is a plain file or FIFO (Linux's may_create_in_sticky with its default settings).
Result<void> may_reuse_in_sticky(const LookupContext& context, const Inode& directory,
                                 const Inode& inode) {
  static constexpr uint32_t kOthersWrite = 0002;
  bool is_shared =
      (directory.mode() & mode::kSticky) != 0 && (directory.mode() & kOthersWrite) != 0;
  bool is_plain = inode.is_regular() || inode.type() == mode::kFifo;
  if (!is_shared || is_plain || inode.uid() == directory.uid() ||
      inode.uid() == context.identity.uid)
    return {};
  return fail(Errno::kAcces);
}

struct Created {
  RefPtr<Dentry> dentry;
  bool is_new;
};

/// The last step of O_CREAT: the file, made now unless somebody made it meanwhile.
Result<Created> find_or_create(const LookupContext& context, const Path& parent,
                               std::string_view name, uint32_t permissions) {
  FileSystem& file_system = parent.mount().file_system();
  LockGuard guard(file_system.namespace_mutex());
  RefPtr<Dentry> dentry = ARIL_TRY(lookup_locked(parent, name));
  if (!dentry->is_negative()) return Created{std::move(dentry), false};
  ARIL_TRY(require_writable_mount(parent));
  ARIL_TRY(may_create_in(context, parent));
  uint32_t mode = mode::kRegular | (permissions & mode::kPermissions & ~context.umask);
  Identity owner = owner_for_new(parent.inode(), context.identity, mode);
  RefPtr<Inode> inode = ARIL_TRY(parent.inode().create(name, mode, 0, owner));
  dentry = ARIL_TRY(file_system.dentries().add(parent.dentry(), name, std::move(inode)));
  announce_name(parent.inode(), name, *dentry->inode(), FileEvent::kCreate);
  return Created{std::move(dentry), true};
}

Result<RefPtr<File>> open_unnamed(const LookupContext& context, const Path& start,
                                  std::string_view name, OpenFlags flags, uint32_t permissions,
                                  LookupFlags lookup) {
  Path directory = ARIL_TRY(resolve(context, start, name, lookup | LookupFlags::kDirectory));
  ARIL_TRY(require_writable_mount(directory));
  ARIL_TRY(check_access(directory.inode(), context.identity, Access::kWrite | Access::kExecute));
  uint32_t mode = mode::kRegular | (permissions & mode::kPermissions & ~context.umask);
  Identity owner = owner_for_new(directory.inode(), context.identity, mode);
  FileSystem& file_system = directory.mount().file_system();
  RefPtr<Inode> inode;
  {
    LockGuard guard(file_system.namespace_mutex());
    inode = ARIL_TRY(directory.inode().create_unnamed(mode, owner));
  }
  char text[32];
  std::string_view label =
      format_to(text, "#%llu", static_cast<unsigned long long>(inode->number()));
  RefPtr<Dentry> dentry =
      ARIL_TRY(file_system.dentries().add_unnamed(directory.dentry(), label, std::move(inode)));
  Path path(directory.mount_ref(), std::move(dentry));
  return path.inode().open(path, flags & ~(kCreationFlags | OpenFlags::kDirectory | kTmpFileBit));
}

}  // namespace

Result<RefPtr<File>> open(const LookupContext& context, const Path& start, std::string_view name,
                          OpenFlags flags, uint32_t permissions, LookupFlags resolve_flags) {
  bool is_path = has(flags, OpenFlags::kPath);
  bool create = has(flags, OpenFlags::kCreate) && !is_path;
  bool exclusive = create && has(flags, OpenFlags::kExclusive);
  bool follow = !has(flags, OpenFlags::kNoFollow) && !exclusive;
  bool need_directory = has(flags, OpenFlags::kDirectory);
  LookupFlags lookup = resolve_flags;
  if (follow) lookup |= LookupFlags::kFollow;

  if (has(flags, kTmpFileBit) && !is_path) {
    bool writable = (flags & OpenFlags::kAccessMask) != OpenFlags::kReadOnly;
    if (!need_directory || !writable || create) return fail(Errno::kInval);
    return open_unnamed(context, start, name, flags, permissions, lookup);
  }
  if (create && need_directory) return fail(Errno::kInval);

  Walker walker(context, start, lookup);
  ARIL_TRY(walker.begin(name));
  for (;;) {
    ARIL_TRY(walker.walk_to_last());
    bool directory = need_directory || walker.trailing_slash();
    Path path;
    bool created = false;
    if (walker.last_kind() != ParentLookup::Kind::kNormal) {
      path = ARIL_TRY(walker.step_special());
      if (exclusive) return fail(Errno::kExist);
    } else {
      if (create && walker.trailing_slash()) return fail(Errno::kIsDir);
      path = ARIL_TRY(lookup_component(context, walker.place(), walker.last()));
      if (path.dentry().is_negative()) {
        if (!create) return fail(Errno::kNoEnt);
        Created made =
            ARIL_TRY(find_or_create(context, walker.place(), walker.last(), permissions));
        created = made.is_new;
        path = Path(walker.place().mount_ref(), std::move(made.dentry));
      }
      if (exclusive && !created) return fail(Errno::kExist);
      if (path.inode().is_symlink() && (follow || walker.trailing_slash())) {
        ARIL_TRY(walker.follow_last(path));
        continue;
      }
      if (has(lookup, LookupFlags::kNoCrossing) && path.mount_ref() != walker.place().mount_ref())
        return fail(Errno::kXDev);
    }
    if (create && path.inode().is_directory()) return fail(Errno::kIsDir);
    if (create && !created)
      ARIL_TRY(may_reuse_in_sticky(context, walker.place().inode(), path.inode()));
    if (directory && !path.inode().is_directory()) return fail(Errno::kNotDir);
    return finish_open(context, path, flags, created);
  }
}

Result<RefPtr<File>> open_path(const LookupContext& context, const Path& path, OpenFlags flags) {
  if (has(flags, OpenFlags::kDirectory) && !path.inode().is_directory())
    return fail(Errno::kNotDir);
  return finish_open(context, path, flags, false);
}

}  // namespace aril::vfs
