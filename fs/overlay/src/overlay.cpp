#include "fs/overlay/overlay.hpp"

#include <new>

#include "lower_link.hpp"
#include "overlay_inodes.hpp"

namespace aril::overlay {

using tmpfs::MemoryInode;
namespace mode = vfs::mode;

LowerLink::LowerLink(Overlay& overlay, MemoryInode& self, RefPtr<vfs::Inode> lower)
    : overlay_(overlay), self_(self), lower_(std::move(lower)) {
  LockGuard guard(overlay_.live_lock_);
  LowerLink*& bucket = overlay_.live_[lower_->number() % Overlay::kBuckets];
  next_live_ = bucket;
  bucket = this;
}

LowerLink::~LowerLink() {
  LockGuard guard(overlay_.live_lock_);
  LowerLink** link = &overlay_.live_[lower_->number() % Overlay::kBuckets];
  while (*link != this) link = &(*link)->next_live_;
  *link = next_live_;
}

void LowerLink::pin() {
  if (pinned_.load(std::memory_order_relaxed)) return;
  LockGuard guard(overlay_.live_lock_);
  if (pinned_.exchange(true, std::memory_order_relaxed)) return;
  self_.add_ref();
  next_pinned_ = overlay_.pinned_;
  if (next_pinned_ != nullptr) next_pinned_->previous_pinned_ = this;
  overlay_.pinned_ = this;
}

void LowerLink::unpin() {
  RefPtr<MemoryInode> dropped;  // the caller still has a reference of its own
  LockGuard guard(overlay_.live_lock_);
  if (!pinned_.exchange(false, std::memory_order_relaxed)) return;
  if (next_pinned_ != nullptr) next_pinned_->previous_pinned_ = previous_pinned_;
  if (previous_pinned_ != nullptr) {
    previous_pinned_->next_pinned_ = next_pinned_;
  } else {
    overlay_.pinned_ = next_pinned_;
  }
  next_pinned_ = previous_pinned_ = nullptr;
  dropped = adopt_ref(&self_);
}

Overlay::Overlay(RefPtr<vfs::FileSystem> lower) : MemoryFileSystem(0, 0), lower_(std::move(lower)) {
  next_number_.store(kFirstOwnNumber, std::memory_order_relaxed);
}

Overlay::~Overlay() {
  drop_inodes();
  while (pinned_ != nullptr) pinned_->unpin();
}

Result<RefPtr<Overlay>> Overlay::create(RefPtr<vfs::FileSystem> lower) {
  RefPtr<vfs::Inode> lower_root(lower->root()->inode());
  RefPtr<Overlay> overlay = ARIL_TRY(try_make_ref<Overlay>(std::move(lower)));
  overlay->live_.reset(new (std::nothrow) LowerLink* [kBuckets] {});
  if (!overlay->live_) return fail(Errno::kNoMem);
  RefPtr<MemoryInode> root = ARIL_TRY(overlay->inode_for(std::move(lower_root)));
  ARIL_TRY(overlay->set_root(std::move(root)));
  return overlay;
}

vfs::FileSystemStatus Overlay::status() {
  vfs::FileSystemStatus status = MemoryFileSystem::status();
  status.magic = kMagic;
  return status;
}

RefPtr<MemoryInode> Overlay::find_live(uint64_t lower_number) {
  LockGuard guard(live_lock_);
  for (LowerLink* link = live_[lower_number % kBuckets]; link != nullptr; link = link->next_live_) {
    // One whose last reference just went is about to leave the table.
    if (link->lower_->number() == lower_number && link->self_.try_add_ref())
      return adopt_ref(&link->self_);
  }
  return nullptr;
}

namespace {

template <typename T, typename... Args>
Result<RefPtr<MemoryInode>> make(Args&&... args) {
  RefPtr<T> inode = ARIL_TRY(try_make_ref<T>(std::forward<Args>(args)...));
  ARIL_TRY(inode->copy_attributes());
  return inode;
}

}  // namespace

Result<RefPtr<MemoryInode>> Overlay::inode_for(RefPtr<vfs::Inode> lower) {
  if (RefPtr<MemoryInode> inode = find_live(lower->number())) return inode;
  vfs::Identity owner{.uid = lower->uid(), .gid = lower->gid()};
  uint32_t mode = lower->mode();
  switch (lower->type()) {
    case mode::kDirectory:
      return make<OverlayDirectory>(*this, std::move(lower), mode, owner);
    case mode::kRegular:
      return make<OverlayFile>(*this, std::move(lower), mode, owner);
    case mode::kSymlink: {
      std::string target = ARIL_TRY(lower->read_link());
      return make<Lowered<tmpfs::MemorySymlink>>(*this, std::move(lower), mode, owner, target);
    }
    default: {
      uint64_t device = lower->special_device();
      return make<Lowered<MemoryInode>>(*this, std::move(lower), mode, device, owner);
    }
  }
}

}  // namespace aril::overlay
