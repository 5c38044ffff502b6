#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace aril::ext4 {

class Node;
class Volume;

/// An inode's extended attributes [attributes.rst]: first behind the inode, then in a block of
/// their own. Under the volume's lock; changes in an Operation.

/// By the full name ("user.x"). kNoData.
Result<std::vector<std::byte>> get_xattr_locked(Node& node, std::string_view name);
/// NUL-terminated full names.
Result<std::string> list_xattrs_locked(Node& node);
enum class XattrMode : uint8_t { kAny, kCreate, kReplace };
/// Without `value` the attribute is removed. kNoData, kExist, kNoSpc when it does not fit,
/// kOpNotSupp for a name space that does not exist.
Result<void> set_xattr_locked(Node& node, std::string_view name,
                              std::optional<std::span<const std::byte>> value, XattrMode mode);
/// The inode is deleted: its block of attributes loses a user.
Result<void> release_xattr_block(Node& node);

/// The checksum of a block of attributes; `block`: its number.
uint32_t xattr_block_checksum(const Volume& volume, uint64_t block, std::byte* data);

}  // namespace aril::ext4
