#include "fs/ext4/ext4.hpp"

#include "inode.hpp"
#include "kernel/log/log.hpp"

namespace aril::ext4 {

Ext4::Ext4(RefPtr<Volume> volume) : volume_(std::move(volume)) {}

Ext4::~Ext4() {
  drop_inodes();
  (void)volume_->unmount();
}

Result<RefPtr<Ext4>> Ext4::mount(BlockDevice& device, Access access) {
  RefPtr<Volume> volume =
      ARIL_TRY(Volume::mount(device, access == Access::kReadOnly ? Volume::Access::kReadOnly
                                                                 : Volume::Access::kReadWrite));
  Result<RefPtr<Node>> root = volume->node(format::kRootInode);
  if (root && (!(*root)->is_directory() || (*root)->links() == 0)) {
    Volume::report_corruption("the root is no directory", format::kRootInode);
    root = fail(Errno::kIo);
  }
  if (!root) {
    volume->abandon();
    return fail(root.error());
  }
  RefPtr<Ext4> file_system = ARIL_TRY(try_make_ref<Ext4>(std::move(volume)));
  ARIL_TRY(file_system->set_root(ARIL_TRY(Ext4Inode::of(*file_system, std::move(*root)))));
  return file_system;
}

bool Ext4::is_read_only() const { return volume_->is_read_only(); }

vfs::FileSystemStatus Ext4::status() {
  Volume::Usage usage = volume_->usage();
  vfs::FileSystemStatus status;
  status.magic = kMagic;
  status.block_size = volume_->block_size();
  status.blocks = usage.blocks;
  status.blocks_free = usage.blocks_free;
  status.files = usage.files;
  status.files_free = usage.files_free;
  return status;
}

Result<void> Ext4::sync() {
  if (is_read_only()) return {};
  page_write_back::write_all();
  return volume_->commit();
}

Result<void> Ext4::commit() {
  if (is_read_only()) return {};
  return volume_->commit_if_changed();
}

Result<void> Ext4::unmount() {
  if (is_read_only()) return {};
  page_write_back::write_all();
  volume_->delete_orphans();
  return volume_->unmount();
}

}  // namespace aril::ext4
