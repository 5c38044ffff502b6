#include "inode.hpp"
#include "open_file.hpp"
#include "stand_in.hpp"

/// What NinepInode does with the names of a directory.
namespace aril::ninep {
namespace {

/// Inodes of one volume are all of this type.
NinepInode& ours(vfs::Inode& inode) { return static_cast<NinepInode&>(inode); }

}  // namespace

Result<RefPtr<vfs::Inode>> NinepInode::lookup(std::string_view name) {
  return volume().inode_for(ARIL_TRY(client().walk(*fid(), name)), {number(), std::string(name)});
}

Result<bool> NinepInode::is_still(std::string_view name, Inode& child) {
  NinepInode& inode = ours(child);
  if (inode.is_nameless()) return false;
  {
    // Its fid may have come by another name since, which proves nothing of this one.
    LockGuard hold(inode.lock_);
    if (inode.place_.directory != number() || inode.place_.name != name) return false;
  }
  Result<Attributes> attributes = stand_in::attributes(client(), *inode.fid());
  if (!attributes) {
    if (attributes.error() == Errno::kNoEnt || attributes.error() == Errno::kNotDir) return false;
    return fail(attributes.error());
  }
  bool same = attributes->qid.path == inode.number() &&
              (attributes->mode & vfs::mode::kTypeMask) == inode.type();
  if (same) inode.take(*attributes);
  return same;
}

/// The inode of what was just made, given to its owner. The server makes everything as the user who
/// attached, root; one that cannot give files away (security model "none") keeps them.
Result<RefPtr<vfs::Inode>> NinepInode::created(std::string_view name, const vfs::Identity& owner) {
  RefPtr<Inode> made = ARIL_TRY(lookup(name));
  if (owner.uid == made->uid() && owner.gid == made->gid()) return made;
  AttributeRequest request{.valid = kSetUid | kSetGid, .uid = owner.uid, .gid = owner.gid};
  NinepInode& inode = ours(*made);
  if (!client().set_attributes(*inode.fid(), request)) return made;
  ARIL_TRY(inode.refresh());
  return made;
}

Result<RefPtr<vfs::Inode>> NinepInode::create(std::string_view name, uint32_t mode, uint64_t device,
                                              const vfs::Identity& owner) {
  if ((mode & vfs::mode::kTypeMask) == vfs::mode::kDirectory) {
    ARIL_TRY(client().make_directory(*fid(), name, mode & vfs::mode::kPermissions, owner.gid));
  } else {
    Result<void> made = client().make_node(*fid(), name, mode, device, owner.gid);
    bool may_stand_in = (mode & vfs::mode::kTypeMask) != vfs::mode::kRegular;
    bool refused = !made && (made.error() == Errno::kNxIo || made.error() == Errno::kPerm);
    if (refused && may_stand_in)
      made = stand_in::make(client(), *fid(), name, mode, device, owner.gid);
    if (!made) return fail(made.error());
  }
  return created(name, owner);
}

Result<RefPtr<vfs::Inode>> NinepInode::symlink(std::string_view name, std::string_view target,
                                               const vfs::Identity& owner) {
  ARIL_TRY(client().make_symlink(*fid(), name, target, owner.gid));
  return created(name, owner);
}

Result<void> NinepInode::link(std::string_view name, Inode& target) {
  NinepInode& inode = ours(target);
  if (inode.is_nameless()) return fail(Errno::kNoEnt);
  ARIL_TRY(client().link(*fid(), *inode.fid(), name));
  return inode.refresh();
}

Result<void> NinepInode::unlink(std::string_view name, Inode& victim) {
  NinepInode& inode = ours(victim);
  // Changed pages go by the name while there is one.
  if (inode.is_regular() && inode.link_count() <= 1) (void)inode.refresh();
  ARIL_TRY(client().unlink(*fid(), name, Client::Kind::kFile));
  inode.lost_name();
  return {};
}

Result<void> NinepInode::rmdir(std::string_view name, Inode& victim) {
  ARIL_TRY(client().unlink(*fid(), name, Client::Kind::kDirectory));
  ours(victim).lost_name();
  return {};
}

Result<void> NinepInode::rename(std::string_view name, Inode& moved, Inode& target_parent,
                                std::string_view target_name, Inode* replaced, bool exchange) {
  if (exchange) return fail(Errno::kInval);  // 9P has no such message
  ARIL_TRY(client().rename(*fid(), name, *ours(target_parent).fid(), target_name));
  if (replaced != nullptr) ours(*replaced).lost_name();
  // The server takes its fids along.
  ours(moved).set_place({target_parent.number(), std::string(target_name)});
  return {};
}

Result<std::string> NinepInode::read_link() {
  if (!is_symlink()) return fail(Errno::kInval);
  return client().read_link(*fid());
}

Result<RefPtr<File>> NinepInode::open(const vfs::Path& path, OpenFlags flags) {
  if (is_regular()) return RefPtr<File>(ARIL_TRY(NinepFile::create(path, flags)));
  if (is_directory()) return RefPtr<File>(ARIL_TRY(NinepDirectory::create(path, flags)));
  return Inode::open(path, flags);
}

}  // namespace aril::ninep
