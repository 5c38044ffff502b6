#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace aril::tool {

/// Code within an image's memory.
struct CodeRange {
  uint64_t offset = 0, size = 0;
};

/// An image's memory as base/code_fields.hpp says.
struct SplitMemory {
  std::string bytes;
  /// The memory can be put together from as little as so many bytes in front of these. What is
  /// still needed is then not yet written over.
  uint64_t gap = 0;
};

inline constexpr size_t kMostCodeRanges = 7;

/// Takes the code in `memory` (at most 1 GiB) apart: at most kMostCodeRanges, in order, which do
/// not overlap.
SplitMemory split_code(std::span<const std::byte> memory, const std::vector<CodeRange>& code);

/// The inverse of split_code(). Throws Error when `split` did not come from it.
std::string join_code(std::span<const std::byte> split, uint64_t size);

}  // namespace aril::tool
