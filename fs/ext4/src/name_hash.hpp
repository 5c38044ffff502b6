#pragma once
#include <cstdint>
#include <span>
#include <string_view>

namespace aril::ext4 {

/// [directory.rst, "Hash Tree Directories"] As stored in the tree's root, 3 added when characters
/// are taken as unsigned.
enum class HashVersion : uint8_t {
  kLegacy = 0,
  kHalfMd4 = 1,
  kTea = 2,
  kLegacyUnsigned = 3,
  kHalfMd4Unsigned = 4,
  kTeaUnsigned = 5,
};

/// The hash by which a name is found: even, since bit 0 marks collisions that go on in the next
/// block. `seed`: the superblock's, four words.
uint32_t name_hash(HashVersion version, std::span<const uint32_t, 4> seed, std::string_view name);

}  // namespace aril::ext4
