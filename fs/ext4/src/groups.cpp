#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

#include "checksum.hpp"
#include "directory.hpp"
#include "extents.hpp"
#include "volume.hpp"
#include "xattrs.hpp"

namespace aril::ext4 {

bool Volume::group_has_superblock(uint32_t group) const {
  if (group <= 1) return true;
  if ((superblock_.feature_compat & format::kCompatSparseSuper2) != 0)
    return group == superblock_.backup_groups[0] || group == superblock_.backup_groups[1];
  if ((superblock_.feature_ro_compat & format::kRoSparseSuper) == 0) return true;
  for (uint64_t base : {3, 5, 7}) {
    uint64_t power = base;
    while (power < group) power *= base;
    if (power == group) return true;
  }
  return false;
}

uint32_t Volume::blocks_in_group(uint32_t group) const {
  uint64_t left = block_count_ - first_block_of(group);
  return static_cast<uint32_t>(std::min<uint64_t>(left, blocks_per_group_));
}

uint64_t Volume::descriptor_block(uint32_t group) const {
  uint32_t table_block = group / descriptors_per_block();
  if (!has_feature(format::kIncompatMetaBg) || table_block < superblock_.first_meta_bg)
    return superblock_block_ + 1 + table_block;
  // With meta_bg each table block lies in the first group that it describes.
  uint32_t first_group = table_block * descriptors_per_block();
  uint64_t block = first_block_of(first_group) + (group_has_superblock(first_group) ? 1 : 0);
  return first_group == 0 && first_block_ == 0 && block_size() == 1024 ? block + 1 : block;
}

uint64_t Volume::goal_of(uint32_t inode) const {
  uint32_t group = (inode - 1) / inodes_per_group_;
  return first_block_of(group) + groups_[group].hint;
}

void Volume::decode_group(uint32_t index, const format::GroupDescriptor& d) {
  bool wide = descriptor_size_ >= 64;
  auto joined = [wide](uint32_t low, uint32_t high) {
    return low | (wide ? uint64_t{high} << 32 : 0);
  };
  auto joined16 = [wide](uint16_t low, uint16_t high) {
    return low | (wide ? uint32_t{high} << 16 : 0);
  };
  Group& group = groups_[index];
  group.block_bitmap = joined(d.block_bitmap_lo, d.block_bitmap_hi);
  group.inode_bitmap = joined(d.inode_bitmap_lo, d.inode_bitmap_hi);
  group.inode_table = joined(d.inode_table_lo, d.inode_table_hi);
  group.free_blocks = joined16(d.free_blocks_lo, d.free_blocks_hi);
  group.free_inodes = joined16(d.free_inodes_lo, d.free_inodes_hi);
  group.used_dirs = joined16(d.used_dirs_lo, d.used_dirs_hi);
  group.unused_inodes = joined16(d.itable_unused_lo, d.itable_unused_hi);
  // Without checksums nothing says whether the unused part is one.
  group.flags = has_checksums_ ? uint16_t{d.flags} : uint16_t{0};
  if (!has_checksums_) group.unused_inodes = 0;
  group.available = group.free_blocks;
}

Result<void> Volume::check_group(uint32_t index) const {
  const Group& group = groups_[index];
  uint64_t table_blocks = uint64_t{inodes_per_group_} * inode_size_ / block_size();
  if (is_valid_run(group.block_bitmap, 1) && is_valid_run(group.inode_bitmap, 1) &&
      is_valid_run(group.inode_table, table_blocks) &&
      group.free_blocks <= blocks_in_group(index) && group.free_inodes <= inodes_per_group_ &&
      group.unused_inodes <= inodes_per_group_)
    return {};
  report_corruption("a group descriptor makes no sense", index);
  return fail(Errno::kIo);
}

namespace {

/// [group_descr.rst] The low half of a CRC over number and descriptor without its own field.
uint16_t descriptor_checksum(uint32_t seed, uint32_t index, const std::byte* bytes, size_t size) {
  constexpr size_t kField = offsetof(format::GroupDescriptor, checksum);
  uint32_t crc = crc32c_of(seed, Le<uint32_t>(index));
  crc = crc32c(crc, {bytes, kField});
  crc = crc32c_of(crc, Le<uint16_t>(0));
  if (size > kField + 2) crc = crc32c(crc, {bytes + kField + 2, size - kField - 2});
  return static_cast<uint16_t>(crc);
}

}  // namespace

Result<void> Volume::read_groups() {
  if (!groups_) {
    groups_.reset(new (std::nothrow) Group[group_count_]());
    if (!groups_) return fail(Errno::kNoMem);
  }
  LockGuard hold(lock_);
  free_blocks_ = free_inodes_ = 0;
  for (uint32_t index = 0; index < group_count_; ++index) {
    uint64_t block = descriptor_block(index);
    if (!is_valid_run(block, 1)) return fail(Errno::kIo);
    if (index % (descriptors_per_block() * 16) == 0) buffers_.read_ahead(block, 16);
    BufferRef buffer = ARIL_TRY(buffers_.get(block));
    const std::byte* bytes = buffer->data() + index % descriptors_per_block() * descriptor_size_;
    format::GroupDescriptor descriptor{};
    std::memcpy(&descriptor, bytes, std::min<size_t>(descriptor_size_, sizeof descriptor));
    if (has_checksums_ &&
        descriptor_checksum(seed_, index, bytes, descriptor_size_) != descriptor.checksum) {
      report_corruption("a group descriptor has a wrong checksum", index);
      return fail(Errno::kIo);
    }
    groups_[index] = Group{};
    decode_group(index, descriptor);
    ARIL_TRY(check_group(index));
    free_blocks_ += groups_[index].free_blocks;
    free_inodes_ += groups_[index].free_inodes;
  }
  available_ = free_blocks_;
  overhead_ = count_overhead();
  return {};
}

/// What statfs does not count: everything that can never hold data.
uint64_t Volume::count_overhead() const {
  if (superblock_.overhead_blocks != 0) return superblock_.overhead_blocks;
  uint64_t table_blocks = uint64_t{inodes_per_group_} * inode_size_ / block_size();
  uint64_t overhead = first_block_ + group_count_ * (table_blocks + 2);
  uint64_t descriptors = (group_count_ + descriptors_per_block() - 1) / descriptors_per_block();
  for (uint32_t group = 0; group < group_count_; ++group) {
    if (group_has_superblock(group)) overhead += 1 + descriptors + superblock_.reserved_gdt_blocks;
  }
  return overhead;
}

Result<void> Volume::touch_superblock() {
  BufferRef buffer = ARIL_TRY(buffers_.get(superblock_block_));
  ARIL_TRY(journal_.modify(buffer));
  superblock_changed_ = true;
  return {};
}

// The descriptor itself is written when the transaction is closed; its block joins it now.
Result<void> Volume::touch_group(uint32_t index, Bitmaps which) {
  Group& group = groups_[index];
  BufferRef buffer = ARIL_TRY(buffers_.get(descriptor_block(index)));
  ARIL_TRY(journal_.modify(buffer));
  ARIL_TRY(touch_superblock());
  if (which == Bitmaps::kBlocks) group.block_bitmap_changed = true;
  if (which == Bitmaps::kInodes) group.inode_bitmap_changed = true;
  if (!std::exchange(group.changed, true)) changed_groups_.push_back(index);
  return {};
}

void Volume::store_group(uint32_t index) {
  Group& group = groups_[index];
  Buffer* table = buffers_.find(descriptor_block(index));
  Result<std::byte*> block = journal_.modify(BufferRef(*table));
  if (!block) return fail_volume("no memory for a group descriptor");
  std::byte* bytes = *block + index % descriptors_per_block() * descriptor_size_;
  format::GroupDescriptor d{};
  size_t size = std::min<size_t>(descriptor_size_, sizeof d);
  std::memcpy(&d, bytes, size);
  d.free_blocks_lo = static_cast<uint16_t>(group.free_blocks);
  d.free_inodes_lo = static_cast<uint16_t>(group.free_inodes);
  d.used_dirs_lo = static_cast<uint16_t>(group.used_dirs);
  d.free_blocks_hi = static_cast<uint16_t>(group.free_blocks >> 16);
  d.free_inodes_hi = static_cast<uint16_t>(group.free_inodes >> 16);
  d.used_dirs_hi = static_cast<uint16_t>(group.used_dirs >> 16);
  if (has_checksums_) {
    d.flags = group.flags;
    d.itable_unused_lo = static_cast<uint16_t>(group.unused_inodes);
    d.itable_unused_hi = static_cast<uint16_t>(group.unused_inodes >> 16);
    auto sum = [this](uint64_t bitmap, uint32_t bits) {
      Buffer* buffer = buffers_.find(bitmap);
      return buffer == nullptr ? 0 : crc32c(seed_, {buffer->data(), bits / 8});
    };
    if (group.block_bitmap_changed) {
      uint32_t crc = sum(group.block_bitmap, blocks_per_group_);
      d.block_bitmap_csum_lo = static_cast<uint16_t>(crc);
      d.block_bitmap_csum_hi = static_cast<uint16_t>(crc >> 16);
    }
    if (group.inode_bitmap_changed) {
      uint32_t crc = sum(group.inode_bitmap, inodes_per_group_);
      d.inode_bitmap_csum_lo = static_cast<uint16_t>(crc);
      d.inode_bitmap_csum_hi = static_cast<uint16_t>(crc >> 16);
    }
    std::memcpy(bytes, &d, size);
    d.checksum = descriptor_checksum(seed_, index, bytes, descriptor_size_);
  }
  std::memcpy(bytes, &d, size);
  group.changed = group.block_bitmap_changed = group.inode_bitmap_changed = false;
}

void Volume::before_close() {
  while (Node* node = dirty_nodes_.pop_front()) {
    node->is_dirty_ = false;
    if (!store_node(*node)) fail_volume("an inode cannot be stored");
    release_later_locked(*node);
  }
  for (uint32_t index : changed_groups_) store_group(index);
  changed_groups_.clear();
  if (std::exchange(superblock_changed_, false)) {
    Buffer* buffer = buffers_.find(superblock_block_);
    if (auto block = journal_.modify(BufferRef(*buffer))) {
      update_superblock(*block);
    } else {
      fail_volume("no memory for the superblock");
    }
  }
}

void Volume::seal_block(Buffer& buffer, std::byte* data) {
  switch (buffer.seal) {
    case Seal::kDirectoryLeaf:
    case Seal::kHashRoot:
    case Seal::kHashNode:
      seal_directory_block(*this, buffer.seal, buffer.seal_seed, data);
      break;
    case Seal::kExtents:
      if (has_checksums_) seal_extent_block(buffer.seal_seed, data);
      break;
    case Seal::kXattrs:
      // The header's own type is of the attributes' business: it starts the block.
      if (has_checksums_)
        reinterpret_cast<format::XattrHeader*>(data)->checksum =
            xattr_block_checksum(*this, buffer.block(), data);
      break;
    case Seal::kNone:
      break;
  }
}

void Volume::on_closed() {
  freed_committing_ = std::move(freed_running_);
  freed_running_.clear();
}

void Volume::on_committed() {
  for (const Run& run : freed_committing_) {
    Group& group = groups_[group_of(run.start)];
    pending_frees_ -= run.length;
    available_ += run.length;
    group.available += run.length;
    group.pending -= run.length;
    if (!group.map) continue;
    auto bit = static_cast<uint32_t>(run.start - first_block_of(group_of(run.start)));
    for (uint32_t i = 0; i < run.length; ++i)
      group.map->data()[(bit + i) / 8] &= ~std::byte(1u << (bit + i) % 8);
  }
  freed_committing_.clear();
}

}  // namespace aril::ext4
