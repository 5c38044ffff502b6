#include "command_line/target.hpp"

#include <cstdlib>

#include "image/image_elf.hpp"
#include "support/error.hpp"
#include "support/file.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

TargetKind classify_target(const std::string& target) {
  if (target.ends_with(".aril")) return TargetKind::kManifest;
  std::error_code ignored;
  if (!fs::is_regular_file(target, ignored)) return TargetKind::kProgram;
  if (is_image(MappedFile(target).bytes())) return TargetKind::kImage;
  return TargetKind::kProgram;
}

Manifest manifest_of(const std::string& target, TargetKind kind) {
  if (kind == TargetKind::kManifest) return read_manifest(target);
  Manifest manifest;
  manifest.program = target;
  return manifest;
}

fs::path find_kernel(const std::string& option) {
  fs::path path = executable_directory().parent_path() / "lib" / "aril" / "kernel.elf";
  if (const char* variable = getenv("ARIL_KERNEL"); variable != nullptr && variable[0] != '\0') {
    path = variable;
  }
  if (!option.empty()) path = option;
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) {
    throw Error(std::format("{}: there is no kernel", path.string()),
                "build it with ./dev build, or name one with --kernel or $ARIL_KERNEL");
  }
  return path;
}

SpecialKernel choose_kernel(const ContentOptions& options, const Manifest& manifest, Tree& tree) {
  const char* variable = getenv("ARIL_KERNEL");
  const bool named = !options.kernel.empty() || (variable != nullptr && variable[0] != '\0');
  const bool special = manifest.profile == Profile::kTiny || manifest.profile == Profile::kDefault;
  if (named || !special) return {.files = {.elf = find_kernel(options.kernel)}, .contents = {}};
  return make_special_kernel(executable_directory().parent_path() / "lib" / "aril", manifest, tree,
                             largest_root_in_memory(options, manifest));
}

std::optional<fs::path> host_file(const Tree& tree, const std::string& path) {
  const TreeEntry* entry = tree.find(path);
  if (entry == nullptr || entry->kind != EntryKind::kHostFile) return std::nullopt;
  return entry->host;
}

}  // namespace aril::tool
