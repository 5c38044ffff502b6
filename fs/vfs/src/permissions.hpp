#pragma once
#include "fs/vfs/lookup.hpp"
#include "fs/vfs/operations.hpp"

/// Checks that several operations share.
namespace aril::vfs {

/// kRoFs when the place's mount is read-only.
inline Result<void> require_writable_mount(const Path& path) {
  if (path.mount().is_read_only()) return fail(Errno::kRoFs);
  return {};
}

/// Whether names may be added to the directory: it exists still, and may be written and searched.
inline Result<void> may_create_in(const LookupContext& context, const Path& parent) {
  if (parent.dentry().is_deleted()) return fail(Errno::kNoEnt);
  return check_access(parent.inode(), context.identity, Access::kWrite | Access::kExecute);
}

enum class Victim : uint8_t { kFile, kDirectory };

/// Whether `victim` may be removed from `parent`: rights, the sticky bit, its type, and that
/// nothing is mounted on it. Linux's may_delete, in its order.
inline Result<void> may_remove_from(const LookupContext& context, const Path& parent,
                                    const Dentry& victim, Victim wanted) {
  const Inode& directory = parent.inode();
  const Inode& inode = *victim.inode();
  ARIL_TRY(check_access(directory, context.identity, Access::kWrite | Access::kExecute));
  bool sticky = (directory.mode() & mode::kSticky) != 0;
  if (sticky && !context.identity.has_override && context.identity.uid != inode.uid() &&
      context.identity.uid != directory.uid())
    return fail(Errno::kPerm);
  if (wanted == Victim::kDirectory && !inode.is_directory()) return fail(Errno::kNotDir);
  if (wanted == Victim::kFile && inode.is_directory()) return fail(Errno::kIsDir);
  if (victim.is_mount_point() || victim.is_root()) return fail(Errno::kBusy);
  return {};
}

inline bool owns(const LookupContext& context, const Inode& inode) {
  return context.identity.has_override || context.identity.uid == inode.uid();
}

/// The contents are about to be changed by someone without CAP_FSETID: the set-user-ID and
/// set-group-ID bits go [inode(7)].
Result<void> drop_lent_rights(const LookupContext& context, Inode& inode);

/// Resolves the directory for a new name and that name (Linux's filename_create).
struct NewName {
  Path parent;
  std::string name;
  bool trailing_slash;
};
inline Result<NewName> resolve_new(const LookupContext& context, const Path& start,
                                   std::string_view path) {
  ParentLookup lookup = ARIL_TRY(resolve_parent(context, start, path));
  if (lookup.kind != ParentLookup::Kind::kNormal) return fail(Errno::kExist);
  return NewName{std::move(lookup.parent), std::move(lookup.name), lookup.trailing_slash};
}

/// With the namespace mutex held: kExist, kNoEnt, kRoFs, kAcces when `name` cannot be made now.
/// `allowed`: what the caller found out otherwise, which Linux asks before the directory's rights.
inline Result<void> check_new_locked(const LookupContext& context, const NewName& target,
                                     Victim kind, const Result<void>& allowed) {
  RefPtr<Dentry> existing = ARIL_TRY(lookup_locked(target.parent, target.name));
  if (!existing->is_negative()) return fail(Errno::kExist);
  if (target.trailing_slash && kind == Victim::kFile) return fail(Errno::kNoEnt);
  ARIL_TRY(require_writable_mount(target.parent));
  if (!allowed) return allowed;
  return may_create_in(context, target.parent);
}

}  // namespace aril::vfs
