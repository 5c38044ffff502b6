#pragma once
#include <cstdint>

/// Structures of EROFS on disk [erofs]. Only what uncompressed images use.
namespace aril::tool::erofs {

inline constexpr uint32_t kMagic = 0xe0f5e1e2;
inline constexpr uint64_t kSuperblockOffset = 1024;
inline constexpr uint64_t kBlockSize = 4096;
inline constexpr uint32_t kCompatibleChecksum = 1;
inline constexpr uint32_t kIncompatibleChunked = 4;

struct Superblock {
  uint32_t magic;
  uint32_t checksum;
  uint32_t feature_compatible;
  uint8_t block_bits;
  uint8_t extension_slots;
  uint16_t root_nid;
  uint64_t inodes;
  uint64_t build_time;
  uint32_t build_time_nanoseconds;
  uint32_t blocks;
  uint32_t metadata_block;
  uint32_t xattr_block;
  uint8_t uuid[16];
  uint8_t volume_name[16];
  uint32_t feature_incompatible;
  uint8_t reserved[44];
};
static_assert(sizeof(Superblock) == 128);

/// Bits 1-3 of i_format.
enum class Layout : uint16_t {
  kPlain = 0,
  kCompressedFull = 1,
  kInline = 2,
  kCompressed = 3,
  kChunked = 4
};

struct CompactInode {
  uint16_t format;
  uint16_t xattr_count;
  uint16_t mode;
  uint16_t links;
  uint32_t size;
  uint32_t reserved;
  uint32_t block;
  uint32_t number;
  uint16_t uid;
  uint16_t gid;
  uint32_t reserved2;
};
static_assert(sizeof(CompactInode) == 32);

struct ExtendedInode {
  uint16_t format;
  uint16_t xattr_count;
  uint16_t mode;
  uint16_t reserved;
  uint64_t size;
  uint32_t block;
  uint32_t number;
  uint32_t uid;
  uint32_t gid;
  uint64_t modified;
  uint32_t modified_nanoseconds;
  uint32_t links;
  uint8_t reserved2[16];
};
static_assert(sizeof(ExtendedInode) == 64);

struct [[gnu::packed]] DirectoryEntry {
  uint64_t nid;
  uint16_t name_offset;
  uint8_t type;
  uint8_t reserved;
};
static_assert(sizeof(DirectoryEntry) == 12);

}  // namespace aril::tool::erofs
