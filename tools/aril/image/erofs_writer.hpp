#pragma once
#include <filesystem>

#include "image/tree.hpp"

namespace aril::tool {

/// Writes the tree as an uncompressed EROFS image with mkfs.erofs. The same tree gives the same
/// bytes. `scratch` is an existing directory on the same file system as `output`; the files are
/// staged there. Throws Error when mkfs.erofs is missing or fails.
void write_erofs(const Tree& tree, const std::filesystem::path& output,
                 const std::filesystem::path& scratch);

}  // namespace aril::tool
