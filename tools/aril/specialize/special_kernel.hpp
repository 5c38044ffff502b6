#pragma once
#include <filesystem>
#include <string>

#include "image/cache.hpp"
#include "image/root_builder.hpp"
#include "manifest/manifest.hpp"

namespace aril::tool {

/// A kernel for one image, and why it is as it is.
struct SpecialKernel {
  KernelFiles files;
  std::string contents;  ///< JSON: profile, system calls, boot parts, components, each with reasons
};

/// Selects and links, and lets the tree's static programs enter that kernel by jumps
/// (system_call_rewriter.hpp).
/// @param directory               build/lib/aril
/// @param largest_root_in_memory  a larger root is on a disk (image/cache.hpp)
SpecialKernel make_special_kernel(const std::filesystem::path& directory, const Manifest& manifest,
                                  Tree& tree, uint64_t largest_root_in_memory);

/// Beside an image: what make_special_kernel() said.
inline constexpr const char* kContentsSuffix = ".json";

}  // namespace aril::tool
