#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "command_line/options.hpp"
#include "manifest/manifest.hpp"
#include "specialize/special_kernel.hpp"

namespace aril::tool {

enum class TargetKind { kProgram, kManifest, kImage };

/// What the operand of `aril run` and `aril build` is: a manifest by its name (*.aril), an image by
/// its content, else a program.
TargetKind classify_target(const std::string& target);

/// The manifest that a target means: the file's content, or one with just the program.
Manifest manifest_of(const std::string& target, TargetKind kind);

/// The kernel's ELF file: `option`, else $ARIL_KERNEL, else ../lib/aril/kernel.elf beside aril.
/// Throws Error when it is missing.
std::filesystem::path find_kernel(const std::string& option);

/// The kernel for an image of `tree`: with `profile` tiny or default one that is linked for it,
/// for which the tree's programs are changed too (make_special_kernel), else find_kernel's. A
/// kernel that was named is taken as it is.
SpecialKernel choose_kernel(const ContentOptions& options, const Manifest& manifest, Tree& tree);

/// The host's file behind a path in the image; nothing when it is not a host's.
std::optional<std::filesystem::path> host_file(const Tree& tree, const std::string& path);

}  // namespace aril::tool
