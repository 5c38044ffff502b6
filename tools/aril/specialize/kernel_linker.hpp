#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "specialize/component_table.hpp"
#include "specialize/selection.hpp"

namespace aril::tool {

/// A kernel linked for one image.
struct LinkedKernel {
  std::filesystem::path elf;  ///< in aril's cache, with symbols and relocations
  std::filesystem::path map;  ///< the linker's map
};

/// Where a kernel lies in physical memory.
enum class Placement {
  kHigh,  ///< from 1 MiB on
  kLow,   ///< below 640 KiB (KernelFiles::low_elf)
};

/// Links the archives with ld.lld, keeping what `selection` names and what that refers to. The same
/// selection of the same archives is found again in the cache. Throws Error with the linker's words
/// when it fails.
LinkedKernel link_kernel(const std::filesystem::path& directory,
                         const std::vector<Component>& components, const Selection& selection,
                         Placement placement);

/// Bytes that one thing takes in an image, and what asked for it.
struct Share {
  std::string component;
  uint64_t size = 0;                        ///< in the file
  uint64_t memory = 0;                      ///< zeroed at boot, in addition
  std::map<std::string, uint64_t> reasons;  ///< "system call read" -> bytes
};

/// Splits the kernel's bytes among its components; padding and headers stand under "padding". The
/// sizes sum to that of the kernel's segments as far as they are in the file. A piece that several
/// things need is put down to the first that does: the core, then boot parts, then system calls.
std::vector<Share> account(const LinkedKernel& kernel);

}  // namespace aril::tool
