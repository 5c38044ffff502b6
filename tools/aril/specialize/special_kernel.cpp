#include "specialize/special_kernel.hpp"

#include <nlohmann/json.hpp>

#include "specialize/component_table.hpp"
#include "specialize/kernel_linker.hpp"
#include "specialize/selection.hpp"
#include "specialize/system_call_rewriter.hpp"
#include "support/file.hpp"

namespace aril::tool {

namespace {

constexpr uint64_t kFileSystemOverhead = 64 << 10;

/// Reports, for each program that was rewritten, what became of its `syscall` instructions.
void rewrite_programs(Tree& tree, const Selection& selection, nlohmann::ordered_json& report) {
  for (const auto& [path, scan] : selection.scans) {
    const TreeEntry& entry = tree.entries().at(path);
    const std::string content =
        entry.kind == EntryKind::kContent ? entry.text : read_file(entry.host);
    auto rewritten = rewrite_system_calls(bytes_of(content), scan);
    if (!rewritten) continue;
    report[path] = {{"instructions", scan.sites.size()}, {"jumps", rewritten->jumps}};
    tree.replace_content(path, std::move(rewritten->file));
  }
}

}  // namespace

SpecialKernel make_special_kernel(const std::filesystem::path& directory, const Manifest& manifest,
                                  Tree& tree, uint64_t largest_root_in_memory) {
  const std::string set = manifest.profile == Profile::kTiny ? "tiny" : "default";
  const std::vector<Component> components = read_components(directory, set);
  Selection selection = select_components(manifest, tree, components);
  // How large the file system will be is not known to the byte.
  const uint64_t root = tree.total_size();
  if (root + root / 8 + kFileSystemOverhead > largest_root_in_memory) {
    selection.parts.emplace("111.virtio_block", "the root may be on a disk");
  }
  // A PC's firmware may want low memory for itself.
  const bool may_be_low = set == "tiny" && !selection.parts.contains("210.pci");
  const LinkedKernel kernel = link_kernel(directory, components, selection, Placement::kHigh);
  nlohmann::ordered_json shares = nlohmann::ordered_json::array();
  for (const Share& share : account(kernel)) {
    shares.push_back({{"component", share.component},
                      {"size", share.size},
                      {"zeroed", share.memory},
                      {"because_of", share.reasons}});
  }
  auto rewritten = nlohmann::ordered_json::object();
  rewrite_programs(tree, selection, rewritten);
  const nlohmann::ordered_json contents = {
      {"profile", set},         {"system_calls", selection.calls}, {"boot_parts", selection.parts},
      {"rewritten", rewritten}, {"notes", selection.notes},        {"components", shares}};
  KernelFiles files = {.elf = kernel.elf};
  if (set == "tiny") files.unpacker = directory / "unpack.bin";
  if (may_be_low)
    files.low_elf = link_kernel(directory, components, selection, Placement::kLow).elf;
  return {.files = std::move(files), .contents = contents.dump(1)};
}

}  // namespace aril::tool
