#pragma once
#include <cstdint>

#include "base/endian.hpp"

/// EROFS's structures as they lie on the disk [Linux fs/erofs on-disk format, erofs.rst].
namespace aril::erofs::format {

inline constexpr uint64_t kSuperblockOffset = 1024;
inline constexpr uint32_t kMagic = 0xE0F5E1E2;
inline constexpr unsigned kBlockBits = 12;
inline constexpr uint64_t kBlockSize = uint64_t{1} << kBlockBits;
/// An inode's number counts units of 32 bytes from the start of the metadata.
inline constexpr unsigned kInodeSlotBits = 5;

inline constexpr uint32_t kCompatChecksum = 1;
inline constexpr uint32_t kIncompatZeroPadding = 1;  ///< about compressed files only
inline constexpr uint32_t kIncompatChunkedFile = 4;

struct Superblock {
  Le<uint32_t> magic, checksum, feature_compat;
  uint8_t block_bits, extension_slots;
  Le<uint16_t> root_nid;
  Le<uint64_t> inode_count, build_time;
  Le<uint32_t> build_time_ns, blocks, meta_block, xattr_block;
  uint8_t uuid[16], volume_name[16];
  Le<uint32_t> feature_incompat;
  Le<uint16_t> compression, extra_devices, device_table_slot;
  uint8_t directory_block_bits, xattr_prefix_count;
  Le<uint32_t> xattr_prefix_start;
  Le<uint64_t> packed_nid;
  uint8_t reserved[24];
};
static_assert(sizeof(Superblock) == 128);

enum class Layout : uint8_t {
  kFlatPlain = 0,
  kCompressedFull = 1,
  kFlatInline = 2,
  kCompressedCompact = 3,
  kChunkBased = 4,
};

/// Bit 0 of the format word tells the two inodes apart, bits 1..3 are the layout.
struct CompactInode {
  Le<uint16_t> format, xattr_count, mode, link_count;
  Le<uint32_t> size, reserved, data, number;
  Le<uint16_t> uid, gid;
  Le<uint32_t> reserved2;
};
static_assert(sizeof(CompactInode) == 32);

struct ExtendedInode {
  Le<uint16_t> format, xattr_count, mode, reserved;
  Le<uint64_t> size;
  Le<uint32_t> data, number, uid, gid;
  Le<uint64_t> modify_time;
  Le<uint32_t> modify_time_ns, link_count;
  uint8_t reserved2[16];
};
static_assert(sizeof(ExtendedInode) == 64);

/// In `data` of a chunk-based file: log2 of blocks per chunk, and whether indexes have 8 bytes.
inline constexpr uint32_t kChunkBitsMask = 0x1f;
inline constexpr uint32_t kChunkIndexes = 0x20;
inline constexpr uint32_t kHoleBlock = 0xffff'ffff;
struct ChunkIndex {
  Le<uint16_t> advice, device;
  Le<uint32_t> block;
};
static_assert(sizeof(ChunkIndex) == 8);

struct DirectoryEntry {
  Le<uint64_t> nid;
  Le<uint16_t> name_offset;
  uint8_t file_type, reserved;
};
static_assert(sizeof(DirectoryEntry) == 12);

struct XattrHeader {
  Le<uint32_t> name_filter;
  uint8_t shared_count;
  uint8_t reserved[7];
};
static_assert(sizeof(XattrHeader) == 12);

struct XattrEntry {
  uint8_t name_length, name_index;
  Le<uint16_t> value_size;
};
static_assert(sizeof(XattrEntry) == 4);

}  // namespace aril::erofs::format
