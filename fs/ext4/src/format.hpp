#pragma once
#include <cstddef>
#include <cstdint>

#include "base/endian.hpp"

/// ext4's structures on disk [Linux Documentation/filesystems/ext4]. All fields are little-endian
/// and unaligned-safe.
namespace aril::ext4::format {

using Le16 = Le<uint16_t>;
using Le32 = Le<uint32_t>;
using Le64 = Le<uint64_t>;

inline constexpr uint16_t kMagic = 0xEF53;
inline constexpr size_t kSuperblockOffset = 1024;
inline constexpr size_t kSuperblockSize = 1024;
inline constexpr uint32_t kRootInode = 2;

inline constexpr uint16_t kStateValid = 1, kStateError = 2, kStateOrphans = 4;
inline constexpr uint32_t kFlagSignedHash = 1, kFlagUnsignedHash = 2;

inline constexpr uint32_t kCompatJournal = 0x4, kCompatXattr = 0x8, kCompatResizeInode = 0x10,
                          kCompatDirIndex = 0x20, kCompatSparseSuper2 = 0x200,
                          kCompatOrphanFile = 0x1000;
inline constexpr uint32_t kIncompatFileType = 0x2, kIncompatRecover = 0x4, kIncompatMetaBg = 0x10,
                          kIncompatExtents = 0x40, kIncompat64Bit = 0x80, kIncompatFlexBg = 0x200,
                          kIncompatChecksumSeed = 0x2000;
inline constexpr uint32_t kRoSparseSuper = 0x1, kRoLargeFile = 0x2, kRoHugeFile = 0x8,
                          kRoDirNlink = 0x20, kRoExtraIsize = 0x40, kRoMetadataChecksum = 0x400,
                          kRoReadOnly = 0x1000, kRoOrphanPresent = 0x10000;

struct Superblock {
  Le32 inodes_count, blocks_count_lo, reserved_blocks_lo, free_blocks_lo, free_inodes;
  Le32 first_data_block, log_block_size, log_cluster_size;
  Le32 blocks_per_group, clusters_per_group, inodes_per_group;
  Le32 mount_time, write_time;
  Le16 mount_count, max_mount_count, magic, state, errors, minor_revision;
  Le32 last_check, check_interval, creator_os, revision;
  Le16 default_uid, default_gid;
  Le32 first_inode;
  Le16 inode_size, block_group;
  Le32 feature_compat, feature_incompat, feature_ro_compat;
  uint8_t uuid[16];
  char volume_name[16];
  char last_mounted[64];
  Le32 algorithm_usage;
  uint8_t prealloc_blocks, prealloc_dir_blocks;
  Le16 reserved_gdt_blocks;
  uint8_t journal_uuid[16];
  Le32 journal_inode, journal_device, last_orphan;
  Le32 hash_seed[4];
  uint8_t default_hash_version, journal_backup_type;
  Le16 descriptor_size;
  Le32 default_mount_options, first_meta_bg, mkfs_time;
  Le32 journal_blocks[17];
  Le32 blocks_count_hi, reserved_blocks_hi, free_blocks_hi;
  Le16 min_extra_isize, want_extra_isize;
  Le32 flags;
  Le16 raid_stride, mmp_interval;
  Le64 mmp_block;
  Le32 raid_stripe_width;
  uint8_t log_groups_per_flex, checksum_type, encryption_level, padding;
  Le64 kbytes_written;
  uint8_t snapshots_and_errors[0x248 - 0x180];
  Le32 overhead_blocks;
  Le32 backup_groups[2];
  uint8_t encryption[0x268 - 0x254];
  Le32 lost_found_inode, project_quota_inode, checksum_seed;
  uint8_t times_high[8];
  Le16 encoding, encoding_flags;
  Le32 orphan_file_inode;
  Le32 reserved[94];
  Le32 checksum;
};
static_assert(sizeof(Superblock) == kSuperblockSize);
static_assert(offsetof(Superblock, log_groups_per_flex) == 0x174);
static_assert(offsetof(Superblock, checksum_seed) == 0x270);
static_assert(offsetof(Superblock, orphan_file_inode) == 0x280);

inline constexpr uint16_t kGroupInodeUninit = 1, kGroupBlockUninit = 2, kGroupInodeZeroed = 4;

/// 32 bytes of it without the 64bit feature.
struct GroupDescriptor {
  Le32 block_bitmap_lo, inode_bitmap_lo, inode_table_lo;
  Le16 free_blocks_lo, free_inodes_lo, used_dirs_lo, flags;
  Le32 exclude_bitmap_lo;
  Le16 block_bitmap_csum_lo, inode_bitmap_csum_lo, itable_unused_lo, checksum;
  Le32 block_bitmap_hi, inode_bitmap_hi, inode_table_hi;
  Le16 free_blocks_hi, free_inodes_hi, used_dirs_hi, itable_unused_hi;
  Le32 exclude_bitmap_hi;
  Le16 block_bitmap_csum_hi, inode_bitmap_csum_hi;
  Le32 reserved;
};
static_assert(sizeof(GroupDescriptor) == 64 && offsetof(GroupDescriptor, checksum) == 0x1E);

inline constexpr uint32_t kInodeImmutable = 0x10, kInodeAppend = 0x20, kInodeIndex = 0x1000,
                          kInodeHugeFile = 0x40000, kInodeExtents = 0x80000,
                          kInodeXattrInode = 0x200000, kInodeInlineData = 0x10000000;

struct Inode {
  Le16 mode, uid_lo;
  Le32 size_lo, access_time, change_time, modify_time, delete_time;
  Le16 gid_lo, links;
  Le32 blocks_lo, flags, version;
  uint8_t block[60];
  Le32 generation, xattr_block_lo, size_hi, fragment_address;
  Le16 blocks_hi, xattr_block_hi, uid_hi, gid_hi, checksum_lo, reserved;
  // Beyond here only where extra_isize says so.
  Le16 extra_isize, checksum_hi;
  Le32 change_extra, modify_extra, access_extra, birth_time, birth_extra, version_hi, project;
};
inline constexpr size_t kOldInodeSize = 128;
static_assert(offsetof(Inode, extra_isize) == kOldInodeSize && sizeof(Inode) == 160);

inline constexpr uint16_t kExtentMagic = 0xF30A;
inline constexpr uint16_t kMaxExtentDepth = 5;
inline constexpr uint32_t kMaxWrittenLength = 32768;
inline constexpr uint32_t kMaxUnwrittenLength = 32767;

struct ExtentHeader {
  Le16 magic, entries, max, depth;
  Le32 generation;
};
struct ExtentIndex {
  Le32 block, leaf_lo;
  Le16 leaf_hi, unused;
};
struct ExtentLeaf {
  Le32 block;
  Le16 length, start_hi;
  Le32 start_lo;
};
static_assert(sizeof(ExtentHeader) == 12 && sizeof(ExtentIndex) == 12 && sizeof(ExtentLeaf) == 12);

/// A directory entry's head; the name follows.
struct DirectoryEntry {
  Le32 inode;
  Le16 length;
  uint8_t name_length, file_type;
};
static_assert(sizeof(DirectoryEntry) == 8);
/// Looks like an unused entry at a leaf block's end.
struct DirectoryTail {
  Le32 zero;
  Le16 length;
  uint8_t zero_name_length, file_type;
  Le32 checksum;
};
static_assert(sizeof(DirectoryTail) == 12);
inline constexpr uint8_t kTailFileType = 0xDE;

struct HashEntry {
  Le32 hash, block;
};
/// In place of the first HashEntry of a node.
struct HashCount {
  Le16 limit, count;
  Le32 block;
};
struct HashRootInfo {
  Le32 zero;
  uint8_t hash_version, length, indirect_levels, flags;
};
struct HashTail {
  Le32 reserved, checksum;
};
inline constexpr size_t kHashRootCountOffset = 0x20;  ///< after ".", ".." and HashRootInfo
inline constexpr size_t kHashNodeCountOffset = 0x8;   ///< after an empty entry
inline constexpr size_t kHashRootInfoOffset = 0x18;

inline constexpr uint32_t kXattrMagic = 0xEA020000;
struct XattrHeader {
  Le32 magic, references, blocks, hash, checksum;
  Le32 reserved[3];
};
static_assert(sizeof(XattrHeader) == 32);
struct XattrEntry {
  uint8_t name_length, name_index;
  Le16 value_offset;
  Le32 value_inode, value_size, hash;
};
static_assert(sizeof(XattrEntry) == 16);

inline constexpr uint32_t kOrphanBlockMagic = 0x0b10ca04;
struct OrphanBlockTail {
  Le32 magic, checksum;
};

}  // namespace aril::ext4::format
