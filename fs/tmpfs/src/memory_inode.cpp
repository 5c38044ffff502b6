#include "fs/tmpfs/memory_inode.hpp"

#include "kernel/memory/page_allocator.hpp"

namespace aril::tmpfs {

using vfs::AttributeChange;
using vfs::Identity;
using vfs::XattrFlags;
namespace mode = vfs::mode;

MemoryFileSystem::MemoryFileSystem(uint64_t page_limit, uint64_t inode_limit)
    : page_limit_(page_limit != 0 ? page_limit : page_allocator::statistics().total_pages / 2),
      inode_limit_(inode_limit != 0 ? inode_limit : page_allocator::statistics().total_pages / 2) {}

Result<RefPtr<PageQuota>> MemoryFileSystem::quota() {
  {
    LockGuard guard(quota_lock_);
    if (quota_) return quota_;
  }
  RefPtr<PageQuota> made = ARIL_TRY(try_make_ref<PageQuota>(page_limit_));
  LockGuard guard(quota_lock_);
  if (!quota_) std::swap(quota_, made);
  return quota_;
}

bool MemoryFileSystem::account_inode() {
  if (inodes_used_.fetch_add(1, std::memory_order_relaxed) < inode_limit_) return true;
  release_inode();
  return false;
}

vfs::FileSystemStatus MemoryFileSystem::status() {
  vfs::FileSystemStatus status;
  status.magic = kMagic;
  status.blocks = status.blocks_free = page_limit_;
  if (auto pages = quota()) status.blocks_free = (*pages)->available();
  status.files = inode_limit_;
  uint64_t used = inodes_used_.load(std::memory_order_relaxed);
  status.files_free = used >= inode_limit_ ? 0 : inode_limit_ - used;
  return status;
}

Result<RefPtr<MemoryInode>> MemoryFileSystem::make_inode(uint32_t mode, uint64_t device,
                                                         const Identity& owner,
                                                         std::string_view target) {
  if (!account_inode()) return fail(Errno::kNoSpc);
  auto make = [&]() -> Result<RefPtr<MemoryInode>> {
    uint64_t number = next_number();
    switch (mode & mode::kTypeMask) {
      case mode::kDirectory:
        return ARIL_TRY(try_make_ref<MemoryDirectory>(*this, number, mode, owner));
      case mode::kRegular:
        return ARIL_TRY(try_make_ref<MemoryFile>(*this, number, mode, owner));
      case mode::kSymlink:
        return ARIL_TRY(try_make_ref<MemorySymlink>(*this, number, mode, owner, target));
      default:
        return ARIL_TRY(try_make_ref<MemoryInode>(*this, number, mode, device, owner));
    }
  };
  Result<RefPtr<MemoryInode>> inode = make();
  if (inode) {
    (*inode)->counted_ = true;
  } else {
    release_inode();
  }
  return inode;
}

MemoryInode::MemoryInode(MemoryFileSystem& file_system, uint64_t number, uint32_t mode,
                         uint64_t device, const Identity& owner)
    : Inode(file_system, number, mode) {
  special_device_ = device;
  uid_.store(owner.uid, std::memory_order_relaxed);
  gid_.store(owner.gid, std::memory_order_relaxed);
  int64_t now = vfs::wall_clock_ns();
  access_ns_.store(now, std::memory_order_relaxed);
  modify_ns_.store(now, std::memory_order_relaxed);
  change_ns_.store(now, std::memory_order_relaxed);
  birth_ns_.store(now, std::memory_order_relaxed);
}

MemoryInode::~MemoryInode() {
  if (counted_) memory_file_system().release_inode();
}

void MemoryInode::change_link_count(int change) {
  link_count_.fetch_add(static_cast<uint32_t>(change), std::memory_order_relaxed);
  touch_changed();
  on_modified();
}

Result<void> MemoryInode::set_attributes(const AttributeChange& change) {
  ARIL_TRY(Inode::set_attributes(change));
  on_modified();
  return {};
}

Result<std::vector<std::byte>> MemoryInode::get_xattr(std::string_view name) {
  LockGuard guard(mutex());
  if (!xattrs_) return fail(Errno::kNoData);
  auto found = xattrs_->find(name);
  if (found == xattrs_->end()) return fail(Errno::kNoData);
  return found->second;
}

Result<void> MemoryInode::set_xattr(std::string_view name, std::span<const std::byte> value,
                                    XattrFlags flags) {
  {
    LockGuard guard(mutex());
    if (!xattrs_) {
      xattrs_.reset(new (std::nothrow) Xattrs);
      if (!xattrs_) return fail(Errno::kNoMem);
    }
    auto found = xattrs_->find(name);
    if (found != xattrs_->end() && flags == XattrFlags::kCreate) return fail(Errno::kExist);
    if (found == xattrs_->end() && flags == XattrFlags::kReplace) return fail(Errno::kNoData);
    // Bounded, so that attributes cannot eat the kernel's heap.
    static constexpr size_t kMaximumAttributes = 64;
    if (found == xattrs_->end() && xattrs_->size() >= kMaximumAttributes)
      return fail(Errno::kNoSpc);
    xattrs_->insert_or_assign(std::string(name), std::vector(value.begin(), value.end()));
  }
  touch_changed();
  on_modified();
  return {};
}

Result<void> MemoryInode::remove_xattr(std::string_view name) {
  {
    LockGuard guard(mutex());
    if (!xattrs_) return fail(Errno::kNoData);
    auto found = xattrs_->find(name);
    if (found == xattrs_->end()) return fail(Errno::kNoData);
    xattrs_->erase(found);
  }
  touch_changed();
  on_modified();
  return {};
}

Result<std::string> MemoryInode::list_xattrs() {
  LockGuard guard(mutex());
  std::string names;
  if (xattrs_) {
    for (const auto& [name, value] : *xattrs_) names.append(name).push_back('\0');
  }
  return names;
}

}  // namespace aril::tmpfs
