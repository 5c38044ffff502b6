#pragma once
#include <cstdint>
#include <filesystem>

#include "machine/accelerator.hpp"
#include "manifest/manifest.hpp"

namespace aril::tool {

/// How far the program goes before (docs/frozen.md).
enum class FreezingPoint {
  kLoaded,      ///< it is loaded and linked
  kInitialised  ///< it has done what needs neither network nor random bytes
};

/// The machine that a frozen image will run on.
struct FreezingMachine {
  MachineType type = MachineType::kMicrovm;
  Accelerator accelerator = Accelerator::kTcg;
  uint64_t memory = kDefaultMemory;
};

/// Boots the image at `path` in QEMU until its program has come to `point`, and replaces it by the
/// memory as it is then (frozen_image.hpp, docs/frozen.md). Throws Error: the root is not in the
/// image, the kernel cannot do this, the program ends before.
void freeze_image(const std::filesystem::path& path, FreezingPoint point,
                  const FreezingMachine& machine);

}  // namespace aril::tool
