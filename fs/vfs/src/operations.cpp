#include "fs/vfs/operations.hpp"

#include "fs/vfs/watch.hpp"
#include "permissions.hpp"

namespace aril::vfs {
namespace {

/// Makes a name for a new inode, with `make` running under the namespace mutex.
template <typename Make>
Result<Path> create_name(const LookupContext& context, const NewName& target, Victim kind,
                         Make make, const Result<void>& allowed = {}) {
  FileSystem& file_system = target.parent.mount().file_system();
  LockGuard guard(file_system.namespace_mutex());
  ARIL_TRY(check_new_locked(context, target, kind, allowed));
  RefPtr<Inode> inode = ARIL_TRY(make(target.parent.inode()));
  RefPtr<Dentry> dentry =
      ARIL_TRY(file_system.dentries().add(target.parent.dentry(), target.name, std::move(inode),
                                          target.parent.inode().has_stable_names()));
  announce_name(target.parent.inode(), target.name, *dentry->inode(), FileEvent::kCreate);
  return Path(target.parent.mount_ref(), std::move(dentry));
}

/// [proc_sys_fs(5)] protected_hardlinks: nobody keeps alive what is not his to write.
Result<void> may_link(const LookupContext& context, const Inode& source) {
  if (owns(context, source)) return {};
  uint32_t mode = source.mode();
  bool lends_rights =
      (mode & mode::kSetUid) != 0 || (mode & (mode::kSetGid | 010)) == (mode::kSetGid | 010);
  if (!source.is_regular() || lends_rights) return fail(Errno::kPerm);
  if (!check_access(source, context.identity, Access::kRead | Access::kWrite))
    return fail(Errno::kPerm);
  return {};
}

}  // namespace

Result<Path> make_directory(const LookupContext& context, const Path& start, std::string_view name,
                            uint32_t permissions) {
  NewName target = ARIL_TRY(resolve_new(context, start, name));
  return create_name(context, target, Victim::kDirectory, [&](Inode& parent) {
    uint32_t mode = mode::kDirectory | (permissions & (0777 | mode::kSticky) & ~context.umask);
    Identity owner = owner_for_new(parent, context.identity, mode);
    return parent.create(target.name, mode, 0, owner);
  });
}

Result<Path> make_node(const LookupContext& context, const Path& start, std::string_view name,
                       uint32_t mode, uint64_t device) {
  uint32_t type = mode & mode::kTypeMask;
  if (type == 0) type = mode::kRegular;
  switch (type) {
    case mode::kDirectory:
      return fail(Errno::kPerm);
    case mode::kRegular:
    case mode::kCharDevice:
    case mode::kBlockDevice:
    case mode::kFifo:
    case mode::kSocket:
      break;
    default:
      return fail(Errno::kInval);
  }
  NewName target = ARIL_TRY(resolve_new(context, start, name));
  return create_name(context, target, Victim::kFile, [&](Inode& parent) -> Result<RefPtr<Inode>> {
    bool is_device = type == mode::kCharDevice || type == mode::kBlockDevice;
    if (is_device && !context.identity.has_override) return fail(Errno::kPerm);
    uint32_t full = type | (mode & mode::kPermissions & ~context.umask);
    Identity owner = owner_for_new(parent, context.identity, full);
    return parent.create(target.name, full, is_device ? device : 0, owner);
  });
}

Result<void> make_symlink(const LookupContext& context, std::string_view text, const Path& start,
                          std::string_view name) {
  if (text.empty()) return fail(Errno::kNoEnt);
  if (text.size() >= kPathLimit) return fail(Errno::kNameTooLong);
  NewName target = ARIL_TRY(resolve_new(context, start, name));
  ARIL_TRY(create_name(context, target, Victim::kFile, [&](Inode& parent) {
    uint32_t mode = mode::kSymlink | 0777;
    Identity owner = owner_for_new(parent, context.identity, mode);
    return parent.symlink(target.name, text, owner);
  }));
  return {};
}

Result<void> make_link(const LookupContext& context, const Path& source, const Path& start,
                       std::string_view name) {
  NewName target = ARIL_TRY(resolve_new(context, start, name));
  if (source.mount_ref() != target.parent.mount_ref()) {
    // Linux looks at the target first.
    Path existing = ARIL_TRY(lookup_component(context, target.parent, target.name));
    return fail(existing.dentry().is_negative() ? Errno::kXDev : Errno::kExist);
  }
  auto make = [&](Inode& parent) -> Result<RefPtr<Inode>> {
    RefPtr<Inode> inode(&source.inode());
    if (inode->link_count() == 0 && !inode->is_linkable()) return fail(Errno::kNoEnt);
    if (inode->is_directory()) return fail(Errno::kPerm);
    ARIL_TRY(parent.link(target.name, *inode));
    announce_self(*inode, FileEvent::kAttributes);
    return inode;
  };
  Result<void> allowed = may_link(context, source.inode());
  ARIL_TRY(create_name(context, target, Victim::kFile, make, allowed));
  return {};
}

Result<void> remove_file(const LookupContext& context, const Path& start, std::string_view name) {
  ParentLookup target = ARIL_TRY(resolve_parent(context, start, name));
  if (target.kind != ParentLookup::Kind::kNormal) return fail(Errno::kIsDir);
  ARIL_TRY(require_writable_mount(target.parent));
  FileSystem& file_system = target.parent.mount().file_system();
  RefPtr<Dentry> victim;  // the last reference to the file goes without the mutex
  LockGuard guard(file_system.namespace_mutex());
  victim = ARIL_TRY(lookup_locked(target.parent, target.name));
  if (victim->is_negative()) return fail(Errno::kNoEnt);
  if (target.trailing_slash)
    return fail(victim->inode()->is_directory() ? Errno::kIsDir : Errno::kNotDir);
  ARIL_TRY(may_remove_from(context, target.parent, *victim, Victim::kFile));
  ARIL_TRY(target.parent.inode().unlink(target.name, *victim->inode()));
  file_system.dentries().remove_deleted(*victim);
  announce_self(*victim->inode(), FileEvent::kAttributes);
  announce_name(target.parent.inode(), target.name, *victim->inode(), FileEvent::kDelete);
  announce_end(*victim->inode());
  return {};
}

Result<void> remove_directory(const LookupContext& context, const Path& start,
                              std::string_view name) {
  ParentLookup target = ARIL_TRY(resolve_parent(context, start, name));
  switch (target.kind) {
    case ParentLookup::Kind::kDotDot:
      return fail(Errno::kNotEmpty);
    case ParentLookup::Kind::kDot:
      return fail(Errno::kInval);
    case ParentLookup::Kind::kRoot:
      return fail(Errno::kBusy);
    case ParentLookup::Kind::kNormal:
      break;
  }
  ARIL_TRY(require_writable_mount(target.parent));
  FileSystem& file_system = target.parent.mount().file_system();
  RefPtr<Dentry> victim;
  LockGuard guard(file_system.namespace_mutex());
  victim = ARIL_TRY(lookup_locked(target.parent, target.name));
  if (victim->is_negative()) return fail(Errno::kNoEnt);
  ARIL_TRY(may_remove_from(context, target.parent, *victim, Victim::kDirectory));
  ARIL_TRY(target.parent.inode().rmdir(target.name, *victim->inode()));
  file_system.dentries().remove_deleted(*victim);
  announce_name(target.parent.inode(), target.name, *victim->inode(), FileEvent::kDelete);
  announce_end(*victim->inode());
  return {};
}

namespace {

void announce_move(const ParentLookup& from, const ParentLookup& to, const Inode& moved,
                   const Inode* replaced) {
  if (!is_anything_watched()) return;
  uint32_t cookie = next_event_cookie();
  announce_name(from.parent.inode(), from.name, moved, FileEvent::kMovedFrom, cookie);
  announce_name(to.parent.inode(), to.name, moved, FileEvent::kMovedTo, cookie);
  if (replaced != nullptr && !replaced->is_directory())
    announce_self(*replaced, FileEvent::kAttributes);
  announce_self(moved, FileEvent::kMoveSelf);
  if (replaced != nullptr) announce_end(*replaced);
}

/// Linux's do_renameat2 and vfs_rename below the namespace mutex. `dropped` gets what the caller
/// must keep until the mutex is released.
Result<void> rename_locked(const LookupContext& context, const ParentLookup& from,
                           const ParentLookup& to, RenameFlags flags, RefPtr<Dentry>& moved,
                           RefPtr<Dentry>& replaced) {
  FileSystem& file_system = from.parent.mount().file_system();
  DentryCache& cache = file_system.dentries();
  bool exchange = has(flags, RenameFlags::kExchange);
  moved = ARIL_TRY(lookup_locked(from.parent, from.name));
  if (moved->is_negative()) return fail(Errno::kNoEnt);
  replaced = ARIL_TRY(lookup_locked(to.parent, to.name));
  bool is_directory = moved->inode()->is_directory();
  bool target_exists = !replaced->is_negative();
  bool target_is_directory = target_exists && replaced->inode()->is_directory();
  if (has(flags, RenameFlags::kNoReplace) && target_exists) return fail(Errno::kExist);
  if (exchange) {
    if (!target_exists) return fail(Errno::kNoEnt);
    if (!target_is_directory && to.trailing_slash) return fail(Errno::kNotDir);
  }
  if (!is_directory && (from.trailing_slash || (!exchange && to.trailing_slash)))
    return fail(Errno::kNotDir);
  if (cache.is_ancestor(*moved, to.parent.dentry())) return fail(Errno::kInval);
  if (target_exists && cache.is_ancestor(*replaced, from.parent.dentry()))
    return fail(exchange ? Errno::kInval : Errno::kNotEmpty);
  if (target_exists && moved->inode() == replaced->inode()) return {};

  ARIL_TRY(may_remove_from(context, from.parent, *moved,
                           is_directory ? Victim::kDirectory : Victim::kFile));
  if (!target_exists) {
    ARIL_TRY(may_create_in(context, to.parent));
  } else {
    bool as_directory = exchange ? target_is_directory : is_directory;
    ARIL_TRY(may_remove_from(context, to.parent, *replaced,
                             as_directory ? Victim::kDirectory : Victim::kFile));
  }
  if (from.parent.dentry_ref() != to.parent.dentry_ref()) {
    // Its ".." changes.
    if (is_directory) ARIL_TRY(check_access(*moved->inode(), context.identity, Access::kWrite));
    if (exchange && target_is_directory)
      ARIL_TRY(check_access(*replaced->inode(), context.identity, Access::kWrite));
  }
  ARIL_TRY(from.parent.inode().rename(from.name, *moved->inode(), to.parent.inode(), to.name,
                                      replaced->inode(), exchange));
  ARIL_TRY(cache.move(*moved, to.parent.dentry(), to.name, target_exists ? replaced.get() : nullptr,
                      exchange));
  announce_move(from, to, *moved->inode(),
                target_exists && !exchange ? replaced->inode() : nullptr);
  if (exchange) announce_move(to, from, *replaced->inode(), nullptr);
  return {};
}

}  // namespace

Result<void> rename(const LookupContext& context, const Path& old_start, std::string_view old_name,
                    const Path& new_start, std::string_view new_name, RenameFlags flags) {
  if (has(flags, RenameFlags::kExchange) && has(flags, RenameFlags::kNoReplace))
    return fail(Errno::kInval);
  ParentLookup from = ARIL_TRY(resolve_parent(context, old_start, old_name));
  ParentLookup to = ARIL_TRY(resolve_parent(context, new_start, new_name));
  if (from.parent.mount_ref() != to.parent.mount_ref()) return fail(Errno::kXDev);
  if (from.kind != ParentLookup::Kind::kNormal) return fail(Errno::kBusy);
  if (to.kind != ParentLookup::Kind::kNormal)
    return fail(has(flags, RenameFlags::kNoReplace) ? Errno::kExist : Errno::kBusy);
  ARIL_TRY(require_writable_mount(from.parent));
  RefPtr<Dentry> moved, replaced;
  LockGuard guard(from.parent.mount().file_system().namespace_mutex());
  return rename_locked(context, from, to, flags, moved, replaced);
}

Result<std::string> read_link(const LookupContext& context, const Path& start,
                              std::string_view name) {
  Path path = ARIL_TRY(resolve(context, start, name, LookupFlags::kEmptyPath));
  if (!path.inode().is_symlink()) return fail(name.empty() ? Errno::kNoEnt : Errno::kInval);
  return path.inode().read_link();
}

}  // namespace aril::vfs
