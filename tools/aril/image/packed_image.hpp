#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

namespace aril::tool {

/// Replaces the image at `path` (image_elf.hpp) by one that unpacks itself: what the image is in
/// memory, root included, its code taken apart (code_split.hpp) and compressed with LZMA, behind
/// the small program `stub` (platform/vm/unpack). It boots through PVH alone. Throws Error.
void pack_image(const std::filesystem::path& path, const std::filesystem::path& stub);

/// What a packed image is in memory: bytes and where the first of them lies.
struct UnpackedMemory {
  uint64_t address = 0;
  std::string bytes;
  uint64_t packed_size = 0;  ///< in the file
};

/// Nothing when the image is not packed. Throws Error when it is damaged.
std::optional<UnpackedMemory> unpack_image(std::span<const std::byte> image);

}  // namespace aril::tool
