#pragma once
#include "directory.hpp"
#include "file_data.hpp"
#include "fs/ext4/ext4.hpp"
#include "fs/vfs/inode.hpp"
#include "volume.hpp"

namespace aril::ext4 {

/// A file as vfs sees it. Its node holds the truth; what vfs reads without a lock is kept here as
/// well.
class Ext4Inode final : public vfs::Inode {
 public:
  /// Under the volume's lock.
  Ext4Inode(Ext4& file_system, RefPtr<Node> node);
  ~Ext4Inode() override;

  /// The one inode of a node. kNoMem. Takes the volume's lock.
  static Result<RefPtr<vfs::Inode>> of(Ext4& file_system, RefPtr<Node> node);

  // names.cpp
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
  Result<std::string> read_link() override;

  // inode.cpp
  Result<FileStatus> status() override;
  Result<void> set_attributes(const vfs::AttributeChange& change) override;
  void touch_accessed() override;
  Result<RefPtr<PageCache>> page_cache(PageAccess access) override;
  [[nodiscard]] uint64_t size() const override;
  Result<uint64_t> seek_extent(uint64_t offset, SeekOrigin origin) override;
  Result<size_t> write_locked(IoBuffer& buffer, uint64_t offset) override;
  Result<void> resize_locked(uint64_t size) override;
  Result<void> allocate_locked(uint32_t mode, uint64_t offset, uint64_t length) override;
  Result<void> sync() override;
  Result<void> sync_data() override;
  Result<std::vector<std::byte>> get_xattr(std::string_view name) override;
  Result<void> set_xattr(std::string_view name, std::span<const std::byte> value,
                         vfs::XattrFlags flags) override;
  Result<void> remove_xattr(std::string_view name) override;
  Result<std::string> list_xattrs() override;

 private:
  [[nodiscard]] Ext4& ext4() const { return static_cast<Ext4&>(file_system()); }
  [[nodiscard]] Volume& volume() const { return node_->volume(); }
  static Ext4Inode& of(vfs::Inode& inode) { return static_cast<Ext4Inode&>(inode); }

  void load_locked();
  RefPtr<PageCache> cache_if_any() const;
  Result<void> set_size(uint64_t size);
  Result<void> stamp(bool modified);
  Result<void> punch(PageCache& cache, uint64_t offset, uint64_t end);
  Result<void> durable(uint32_t id);
  [[nodiscard]] uint64_t size_limit() const;

  // names.cpp, in an operation
  Result<void> make_locked(std::string_view name, uint32_t mode, const vfs::Identity& owner,
                           RefPtr<Node>& node);
  Result<void> enter_locked(std::string_view name, Node& node);
  Result<void> drop_link_locked(Node& node, bool all);
  Result<void> change_directory_links_locked(Node& node, int change);
  Result<void> check_link_limit(const Node& node) const;
  Result<void> set_link_target(Node& node, std::string_view target);
  Result<void> exchange_locked(std::string_view name, Ext4Inode& moved, Ext4Inode& target_parent,
                               std::string_view target_name, Ext4Inode& other);

  const RefPtr<Node> node_;
  mutable SpinLock cache_lock_{LockRank::kSpinLeaf};  // guards the pointer
  RefPtr<PageCache> cache_;
};

}  // namespace aril::ext4
