#include "volume.hpp"

#include "fs/ninep/ninep.hpp"
#include "inode.hpp"
#include "stand_in.hpp"

namespace aril::ninep {

Result<RefPtr<vfs::FileSystem>> mount(MessageDevice& device) {
  return RefPtr<vfs::FileSystem>(ARIL_TRY(Volume::create(device)));
}

Result<RefPtr<Volume>> Volume::create(MessageDevice& device) {
  RefPtr<Volume> volume = ARIL_TRY(try_make_ref<Volume>(ARIL_TRY(try_make_ref<Client>(device))));
  RefPtr<vfs::Inode> root = ARIL_TRY(volume->inode_for(ARIL_TRY(volume->client_->connect()), {}));
  if (!root->is_directory()) return fail(Errno::kNotDir);
  ARIL_TRY(volume->set_root(std::move(root)));
  return volume;
}

Volume::~Volume() { drop_inodes(); }

vfs::FileSystemStatus Volume::status() {
  // The root directory's fid stays as long as the volume.
  auto& top = static_cast<NinepInode&>(*root()->inode());
  return client_->file_system_status(*top.fid()).value_or(vfs::FileSystemStatus{});
}

Result<void> Volume::sync() {
  // What was written is at the server already, but for changed pages of mapped files.
  for (size_t i = 0; i < kBuckets; ++i) {
    uint64_t after = 0;
    for (;;) {
      RefPtr<NinepInode> inode;
      {
        LockGuard hold(lock_);
        // By ascending address, so that the walk goes on without the lock.
        NinepInode* next = nullptr;
        for (NinepInode* one = buckets_[i]; one != nullptr; one = one->next_in_bucket_) {
          if (reinterpret_cast<uint64_t>(one) > after && (next == nullptr || one < next))
            next = one;
        }
        if (next == nullptr) break;
        after = reinterpret_cast<uint64_t>(next);
        if (next->try_add_ref()) inode = RefPtr<NinepInode>::adopt(next);
      }
      if (!inode) continue;
      (void)inode->write_back();
    }
  }
  return {};
}

Result<RefPtr<vfs::Inode>> Volume::inode_for(RefPtr<Fid> fid, Place place) {
  Attributes attributes = ARIL_TRY(stand_in::attributes(*client_, *fid));
  uint64_t number = attributes.qid.path;
  auto find_locked = [&]() -> RefPtr<NinepInode> {
    for (NinepInode* one = bucket(number); one != nullptr; one = one->next_in_bucket_) {
      bool same =
          one->number() == number && one->type() == (attributes.mode & vfs::mode::kTypeMask);
      if (same && one->try_add_ref()) return RefPtr<NinepInode>::adopt(one);
    }
    return nullptr;
  };
  RefPtr<NinepInode> known;
  {
    LockGuard hold(lock_);
    known = find_locked();
  }
  if (!known) {
    RefPtr<NinepInode> made = ARIL_TRY(try_make_ref<NinepInode>(*this, fid, place, attributes));
    LockGuard hold(lock_);
    known = find_locked();
    if (!known) {
      NinepInode*& head = bucket(number);
      made->next_in_bucket_ = head;
      made->in_table_ = true;
      head = made.get();
      return RefPtr<vfs::Inode>(std::move(made));
    }
  }
  known->adopt(std::move(fid), std::move(place), attributes);
  return RefPtr<vfs::Inode>(std::move(known));
}

uint32_t Volume::known_type(uint64_t number) {
  LockGuard hold(lock_);
  for (NinepInode* one = bucket(number); one != nullptr; one = one->next_in_bucket_) {
    if (one->number() == number) return one->type();
  }
  return 0;
}

void Volume::forget(NinepInode& inode) {
  LockGuard hold(lock_);
  if (!inode.in_table_) return;
  NinepInode** link = &bucket(inode.number());
  while (*link != &inode) link = &(*link)->next_in_bucket_;
  *link = inode.next_in_bucket_;
  inode.in_table_ = false;
}

}  // namespace aril::ninep
