#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace aril::tool {

/// A machine that has stopped in order to be frozen (arch/freeze.hpp).
struct StoppedMachine {
  std::span<std::byte> memory;  ///< all of it, from physical address 0 on; changed
  uint64_t entry = 0;           ///< where a machine with this memory is to be entered
  uint64_t data = 0;            ///< where the kernel's data segment is to stand as in its file
};

/// Replaces the image at `path`, which the machine booted from, by its memory: what is not zero,
/// page by page, in place of the kernel's own segments. The root stays where it is. It boots
/// through PVH alone. Throws Error.
void write_frozen_image(const std::filesystem::path& path, const StoppedMachine& machine);

}  // namespace aril::tool
