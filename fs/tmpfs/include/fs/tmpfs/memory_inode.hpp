#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fs/vfs/file_system.hpp"
#include "fs/vfs/inode.hpp"

/// Files that live in memory: the parts of which tmpfs is made, and to which an overlay adds a
/// read-only layer below.
namespace aril::tmpfs {

class MemoryInode;

/// What all files of one instance share: how much they may hold, and their numbers.
class MemoryFileSystem : public vfs::FileSystem {
 public:
  static constexpr uint64_t kMagic = 0x01021994;  ///< TMPFS_MAGIC

  /// `page_limit` bounds the contents of its files, `inode_limit` their number; 0: half of RAM.
  MemoryFileSystem(uint64_t page_limit, uint64_t inode_limit);

  vfs::FileSystemStatus status() override;

  /// Makes an inode of any type but directory entry's own; no name yet. kNoSpc, kNoMem.
  Result<RefPtr<MemoryInode>> make_inode(uint32_t mode, uint64_t device, const vfs::Identity& owner,
                                         std::string_view target = {});

  [[nodiscard]] uint64_t next_number() {
    return next_number_.fetch_add(1, std::memory_order_relaxed);
  }
  /// Of the pages of all files. Made with the first: there was no memory for it before; kNoMem.
  Result<RefPtr<PageQuota>> quota();
  /// False when there are too many inodes.
  bool account_inode();
  void release_inode() { inodes_used_.fetch_sub(1, std::memory_order_relaxed); }

 protected:
  /// Where numbers of new inodes start: an overlay leaves room for those of its lower layer.
  std::atomic<uint64_t> next_number_{1};

 private:
  const uint64_t page_limit_, inode_limit_;
  SpinLock quota_lock_{LockRank::kSpinLeaf};  // guards the pointer
  RefPtr<PageQuota> quota_;
  std::atomic<uint64_t> inodes_used_{0};
};

/// Any file in memory: attributes and extended attributes. As it is, a special file.
class MemoryInode : public vfs::Inode {
 public:
  MemoryInode(MemoryFileSystem& file_system, uint64_t number, uint32_t mode, uint64_t device,
              const vfs::Identity& owner);
  ~MemoryInode() override;

  [[nodiscard]] MemoryFileSystem& memory_file_system() const {
    return static_cast<MemoryFileSystem&>(file_system());
  }
  /// A name was added (+1) or went (-1); sets the change time. Under the namespace mutex.
  virtual void change_link_count(int change);

  Result<void> set_attributes(const vfs::AttributeChange& change) override;
  Result<std::vector<std::byte>> get_xattr(std::string_view name) override;
  Result<void> set_xattr(std::string_view name, std::span<const std::byte> value,
                         vfs::XattrFlags flags) override;
  Result<void> remove_xattr(std::string_view name) override;
  Result<std::string> list_xattrs() override;

 protected:
  friend class MemoryFileSystem;
  friend class MemoryDirectory;
  /// Something differs from what a lower layer says. An overlay then keeps the inode.
  virtual void on_modified() {}

  using Xattrs = std::map<std::string, std::vector<std::byte>, std::less<>>;
  std::unique_ptr<Xattrs> xattrs_;  // guarded by mutex()
  /// Whether this inode is counted in the file system's limit.
  bool counted_ = false;
};

/// A symbolic link.
class MemorySymlink : public MemoryInode {
 public:
  MemorySymlink(MemoryFileSystem& file_system, uint64_t number, uint32_t mode,
                const vfs::Identity& owner, std::string_view target)
      : MemoryInode(file_system, number, mode, 0, owner), target_(target) {}
  Result<std::string> read_link() override { return target_; }
  [[nodiscard]] uint64_t size() const override { return target_.size(); }

 private:
  const std::string target_;
};

/// A regular file: a page cache without backing, in which pages never written are holes.
class MemoryFile : public MemoryInode {
 public:
  MemoryFile(MemoryFileSystem& file_system, uint64_t number, uint32_t mode,
             const vfs::Identity& owner)
      : MemoryInode(file_system, number, mode, 0, owner) {}
  Result<FileStatus> status() override;
  Result<void> set_attributes(const vfs::AttributeChange& change) override;
  Result<RefPtr<PageCache>> page_cache(PageAccess access) override;
  [[nodiscard]] uint64_t size() const override;
  Result<uint64_t> seek_extent(uint64_t offset, SeekOrigin origin) override;
  Result<size_t> write_locked(IoBuffer& buffer, uint64_t offset) override;
  Result<void> resize_locked(uint64_t size) override;
  Result<void> allocate_locked(uint32_t mode, uint64_t offset, uint64_t length) override;
  Result<uint32_t> seals() override;
  Result<void> add_seals(uint32_t seals) override;
  /// Before the file is shared: memfd_create with MFD_ALLOW_SEALING.
  void allow_sealing() { seals_.store(0, std::memory_order_relaxed); }

 protected:
  static constexpr uint32_t kSealSeal = 1, kSealShrink = 2, kSealGrow = 4, kSealWrite = 8,
                            kSealFutureWrite = 16;
  /// The cache, or null when nothing was written yet.
  RefPtr<PageCache> cache_if_any() const;
  void set_cache(RefPtr<PageCache> cache);
  /// Called before the contents in [start, end) are dropped or cut off.
  virtual void before_discard(uint64_t start, uint64_t end) {
    (void)start;
    (void)end;
  }

 private:
  mutable SpinLock cache_lock_{LockRank::kSpinLeaf};  // guards the pointer
  RefPtr<PageCache> cache_;
  std::atomic<uint32_t> seals_{kSealSeal};
};

/// A directory.
class MemoryDirectory : public MemoryInode {
 public:
  MemoryDirectory(MemoryFileSystem& file_system, uint64_t number, uint32_t mode,
                  const vfs::Identity& owner)
      : MemoryInode(file_system, number, mode, 0, owner) {
    link_count_.store(2, std::memory_order_relaxed);
  }
  ~MemoryDirectory() override;

  Result<RefPtr<vfs::Inode>> lookup(std::string_view name) override;
  Result<RefPtr<vfs::Inode>> create(std::string_view name, uint32_t mode, uint64_t device,
                                    const vfs::Identity& owner) override;
  Result<RefPtr<vfs::Inode>> symlink(std::string_view name, std::string_view target,
                                     const vfs::Identity& owner) override;
  Result<void> link(std::string_view name, vfs::Inode& target) override;
  Result<void> unlink(std::string_view name, vfs::Inode& victim) override;
  Result<void> rmdir(std::string_view name, vfs::Inode& victim) override;
  Result<void> rename(std::string_view name, vfs::Inode& moved, vfs::Inode& target_parent,
                      std::string_view target_name, vfs::Inode* replaced, bool exchange) override;
  Result<RefPtr<vfs::Inode>> create_unnamed(uint32_t mode, const vfs::Identity& owner) override;
  Result<void> read_directory(uint64_t offset, vfs::DirectoryEmitter& emitter) override;
  [[nodiscard]] uint64_t size() const override { return 20 * entries_.size(); }

 protected:
  /// A layer below has a file of this name, so that removing it needs a whiteout.
  virtual Result<bool> is_in_lower(std::string_view name) {
    (void)name;
    return false;
  }
  /// What the layer below has under this name; kNoEnt.
  virtual Result<RefPtr<vfs::Inode>> lookup_lower(std::string_view name) {
    (void)name;
    return fail(Errno::kNoEnt);
  }
  virtual Result<bool> is_empty();
  /// Emits what the layer below has and this one does not hide; offsets below kUpperOffset.
  virtual Result<bool> read_lower(uint64_t offset, vfs::DirectoryEmitter& emitter) {
    (void)offset;
    (void)emitter;
    return true;
  }
  static constexpr uint64_t kUpperOffset = uint64_t{1} << 40;

  struct Entry {
    RefPtr<MemoryInode> inode;  ///< null: a whiteout, which hides the lower layer's file
    uint64_t cookie;            ///< its place in reading order
  };
  using Entries = std::map<std::string, Entry, std::less<>>;
  /// The entry, a whiteout's too; null when this layer knows nothing of the name.
  const Entry* find_entry(std::string_view name) const;
  /// No file of this layer: only whiteouts at most.
  [[nodiscard]] bool has_no_own_files() const;

 private:
  void put(std::string_view name, RefPtr<MemoryInode> inode);
  /// Removes the name from this layer, leaving a whiteout where the lower layer has one.
  void take_out(std::string_view name, bool whiteout);

  Entries entries_;
  std::map<uint64_t, Entries::iterator> by_cookie_;
  uint64_t next_cookie_ = 0;
};

}  // namespace aril::tmpfs
