#pragma once
#include <cstdint>

#include "base/endian.hpp"

/// jbd2's structures on disk [Linux Documentation/filesystems/ext4/journal.rst]. Big-endian.
namespace aril::ext4::jbd2 {

using Be16 = Be<uint16_t>;
using Be32 = Be<uint32_t>;
using Be64 = Be<uint64_t>;

inline constexpr uint32_t kMagic = 0xC03B3998;
inline constexpr uint32_t kDescriptor = 1, kCommit = 2, kSuperblockV1 = 3, kSuperblockV2 = 4,
                          kRevoke = 5;

inline constexpr uint32_t kIncompatRevoke = 1, kIncompat64Bit = 2, kIncompatAsyncCommit = 4,
                          kIncompatChecksumV2 = 8, kIncompatChecksumV3 = 0x10,
                          kIncompatFastCommit = 0x20;
inline constexpr uint8_t kChecksumCrc32c = 4;

struct Header {
  Be32 magic, type, sequence;
};

struct Superblock {
  Header header;
  Be32 block_size, block_count, first;
  Be32 sequence, start, error;
  Be32 feature_compat, feature_incompat, feature_ro_compat;
  uint8_t uuid[16];
  Be32 users, dynamic_super, max_transaction, max_transaction_data;
  uint8_t checksum_type;
  uint8_t padding[3];
  Be32 fast_commit_blocks, head;
  Be32 reserved[40];
  Be32 checksum;
  uint8_t user_ids[16 * 48];
};
static_assert(sizeof(Superblock) == 1024);

inline constexpr uint32_t kTagEscaped = 1, kTagSameUuid = 2, kTagDeleted = 4, kTagLast = 8;

/// With kIncompatChecksumV3.
struct Tag3 {
  Be32 block, flags, block_hi, checksum;
};
/// Without; `block_hi` only with kIncompat64Bit.
struct Tag {
  Be32 block;
  Be16 checksum, flags;
  Be32 block_hi;
};
static_assert(sizeof(Tag3) == 16 && sizeof(Tag) == 12);

struct BlockTail {
  Be32 checksum;
};

struct RevokeHeader {
  Header header;
  Be32 bytes;  ///< used, this header included
};

struct CommitBlock {
  Header header;
  uint8_t checksum_type, checksum_size, padding[2];
  Be32 checksum[8];
  Be64 seconds;
  Be32 nanoseconds;
};
static_assert(sizeof(CommitBlock) == 60);

}  // namespace aril::ext4::jbd2
