#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "image/tree.hpp"

namespace aril::tool {

/// An image on disk, ready to boot.
struct ImageFiles {
  std::filesystem::path image;                ///< ELF, to be given to the machine as its kernel
  std::optional<std::filesystem::path> root;  ///< EROFS, to be attached as a disk
};

/// What an image is made from beside its root.
struct KernelFiles {
  std::filesystem::path elf;
  std::filesystem::path unpacker = {};  ///< empty: the image is not packed (packed_image.hpp)
  /// The same kernel below 640 KiB, for machines that have no more; it is taken when the packed
  /// image, itself and what it unpacks to beside each other, ends below kLowMemoryEnd. May be
  /// empty.
  std::filesystem::path low_elf = {};
};
inline constexpr uint64_t kLowMemoryEnd = 0x98000;

/// Writes kernel and tree as `output`, and a root of more than `largest_in_memory` bytes as
/// `output`.root.
ImageFiles write_image_files(const KernelFiles& kernel, const Tree& tree,
                             uint64_t largest_in_memory, const std::filesystem::path& output);

/// The same in aril's cache, found again as long as the kernel and everything in the tree keep
/// their names, sizes, times and inodes. Images that were not used for long are removed.
ImageFiles cached_image(const KernelFiles& kernel, const Tree& tree, uint64_t largest_in_memory);

/// The tree alone, as an EROFS file, likewise.
std::filesystem::path cached_root(const Tree& tree);

}  // namespace aril::tool
