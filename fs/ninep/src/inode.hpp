#pragma once
#include "client.hpp"
#include "file_cache.hpp"
#include "fs/vfs/inode.hpp"
#include "volume.hpp"

namespace aril::ninep {

/// A file of the host.
///
/// Attributes are those of the server's last answer, and are asked for anew whenever a name is
/// walked or a program looks at them: the host may have changed them. Contents are read and written
/// at the server, but while a file is mapped, when its page cache has them.
///
/// Servers find files by name, also those that a fid stands for (QEMU's does). Once the last name
/// of a file that is still open was removed here, only its open fids are used: what programs ask
/// about it is answered from what was known, and a size that is cut is kept here.
class NinepInode final : public vfs::Inode {
 public:
  NinepInode(Volume& volume, RefPtr<Fid> fid, Place place, const Attributes& attributes);
  ~NinepInode() override;

  // Names: inode_names.cpp.
  Result<RefPtr<Inode>> lookup(std::string_view name) override;
  Result<bool> is_still(std::string_view name, Inode& child) override;
  Result<RefPtr<Inode>> create(std::string_view name, uint32_t mode, uint64_t device,
                               const vfs::Identity& owner) override;
  Result<RefPtr<Inode>> symlink(std::string_view name, std::string_view target,
                                const vfs::Identity& owner) override;
  Result<void> link(std::string_view name, Inode& target) override;
  Result<void> unlink(std::string_view name, Inode& victim) override;
  Result<void> rmdir(std::string_view name, Inode& victim) override;
  Result<void> rename(std::string_view name, Inode& moved, Inode& target_parent,
                      std::string_view target_name, Inode* replaced, bool exchange) override;
  Result<std::string> read_link() override;
  Result<RefPtr<File>> open(const vfs::Path& path, OpenFlags flags) override;

  Result<FileStatus> status() override;
  Result<void> set_attributes(const vfs::AttributeChange& change) override;
  Result<RefPtr<PageCache>> page_cache(PageAccess access) override;
  [[nodiscard]] uint64_t size() const override { return state_->size.load(); }
  Result<size_t> write_locked(IoBuffer& buffer, uint64_t offset) override;
  Result<void> resize_locked(uint64_t size) override;
  Result<void> allocate_locked(uint32_t mode, uint64_t offset, uint64_t length) override;
  Result<std::vector<std::byte>> get_xattr(std::string_view name) override;
  Result<void> set_xattr(std::string_view name, std::span<const std::byte> value,
                         vfs::XattrFlags flags) override;
  Result<void> remove_xattr(std::string_view name) override;
  Result<std::string> list_xattrs() override;

  Volume& volume() { return static_cast<Volume&>(file_system()); }
  Client& client() { return *volume().client(); }
  /// Names the file at the server.
  RefPtr<Fid> fid() const;
  /// The server says this of the file, found at `place`: `fid` names it from now on.
  void adopt(RefPtr<Fid> fid, Place place, const Attributes& attributes);
  /// Asks for the attributes, unless the file has no name any more.
  Result<void> refresh();

  // For open files.
  Result<size_t> read(const Fid& fid, uint64_t offset, IoBuffer& buffer);
  /// Under mutex().
  Result<size_t> write(const RefPtr<Fid>& fid, uint64_t offset, IoBuffer& buffer);
  /// ftruncate through an open fid; under mutex().
  Result<void> resize(const Fid& fid, uint64_t size);
  /// The page cache for a mapping, through open fids (`writer` may be null).
  Result<RefPtr<PageCache>> mapping(const RefPtr<Fid>& reader, const RefPtr<Fid>& writer);
  /// Changed pages are at the server when it returns.
  Result<void> write_back();

 private:
  friend class Volume;
  void take(const Attributes& attributes);
  /// A name was removed here.
  void lost_name();
  void set_place(Place place);
  [[nodiscard]] bool is_nameless() const { return nameless_.load(std::memory_order_relaxed); }
  /// The page cache when somebody maps the file; else null, and nothing in it waits to be written.
  Result<RefPtr<PageCache>> mapped_cache();
  Result<RefPtr<PageCache>> make_cache();
  Result<RefPtr<Inode>> created(std::string_view name, const vfs::Identity& owner);

  NinepInode* next_in_bucket_ = nullptr;  // the volume's
  bool in_table_ = false;                 // the volume's
  mutable SpinLock lock_{LockRank::kSpinLeaf};
  // Guarded by lock_.
  RefPtr<Fid> fid_;
  Place place_;  // fid_'s
  RefPtr<PageCache> cache_;
  FileBacking* backing_ = nullptr;  // cache_'s
  int64_t cached_modify_ns_ = 0;    // the file's when cache_ was last known to hold its contents
  uint64_t cached_size_ = 0;
  bool cache_settled_ = true;  // nothing in cache_ waits to be written

  const RefPtr<FileState> state_;
  std::atomic<uint64_t> blocks_{0};
  std::atomic<bool> nameless_{false};
  std::atomic<bool> is_stand_in_{false};
};

}  // namespace aril::ninep
