#pragma once
#include <memory>
#include <string_view>

#include "fs/tmpfs/memory_inode.hpp"

namespace aril::overlay {

class LowerLink;

/// A writable view of a read-only file system: what changes is kept in memory, page by page. It is
/// a tmpfs whose files may have a counterpart in the lower layer:
///  - a directory looks in its own entries first, which may be whiteouts, then in the lower one;
///  - a file reads the lower one's page cache until it is opened for writing; from then on its own
///    cache, which takes unchanged pages from the lower layer (in place when they are RAM), so that
///    only written pages use memory;
///  - attributes are copied when the inode is made, and differ from then on if changed.
/// An inode that differs from the lower one ("pinned") stays until its last name goes; others come
/// and go with the name cache. Inode numbers are the lower layer's, and do not change with writing.
/// As on Linux, a mapping made before the first opening for writing does not see later writes.
class Overlay final : public tmpfs::MemoryFileSystem {
 public:
  /// `lower`: a read-only file system. kNoMem, or what its root gives.
  static Result<RefPtr<Overlay>> create(RefPtr<vfs::FileSystem> lower);
  ~Overlay() override;

  [[nodiscard]] std::string_view type_name() const override { return "overlay"; }
  vfs::FileSystemStatus status() override;

  [[nodiscard]] const RefPtr<vfs::FileSystem>& lower() const { return lower_; }

  /// The overlay's inode for one of the lower layer. Under the namespace mutex.
  Result<RefPtr<tmpfs::MemoryInode>> inode_for(RefPtr<vfs::Inode> lower);

 private:
  friend class LowerLink;
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  explicit Overlay(RefPtr<vfs::FileSystem> lower);

  static constexpr uint64_t kMagic = 0x794c7630;  ///< OVERLAYFS_SUPER_MAGIC
  static constexpr size_t kBuckets = 512;
  /// New files' numbers start here, above any lower layer's.
  static constexpr uint64_t kFirstOwnNumber = uint64_t{1} << 40;

  RefPtr<tmpfs::MemoryInode> find_live(uint64_t lower_number);

  const RefPtr<vfs::FileSystem> lower_;
  SpinLock live_lock_{LockRank::kSpinLeaf};
  std::unique_ptr<LowerLink*[]> live_;  // by lower number; holds no reference
  LowerLink* pinned_ = nullptr;         // holds one reference each; guarded by live_lock_
};

}  // namespace aril::overlay
