#include "specialize/special_kernel.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "elf/elf_file.hpp"
#include "specialize/component_table.hpp"
#include "specialize/kernel_linker.hpp"
#include "specialize/selection.hpp"
#include "support/file.hpp"

namespace aril::tool {

namespace {

/// An image of `kernel` with `files` fits below 640 KiB while it is unpacked: packed it has at most
/// two thirds of its size.
bool fits_low(const LinkedKernel& kernel, const Tree& files) {
  constexpr uint64_t kForFileSystem = 16 << 10;
  uint64_t end = 0;
  const MappedFile file(kernel.elf);
  uint64_t packed = 0;
  for (const ElfSegment& segment : parse_elf(file.bytes()).segments) {
    end = std::max(end, segment.physical_address + segment.memory_size);
    packed += segment.file_size;
  }
  const uint64_t root = files.total_size() + kForFileSystem;
  return end + root + (packed + root) * 2 / 3 <= kLowMemoryEnd;
}

}  // namespace

SpecialKernel make_special_kernel(const std::filesystem::path& directory, const Manifest& manifest,
                                  const Tree& tree) {
  const std::string set = manifest.profile == Profile::kTiny ? "tiny" : "default";
  const std::vector<Component> components = read_components(directory, set);
  const Selection selection = select_components(manifest, tree, components);
  // A PC's firmware may want low memory for itself.
  const bool may_be_low = set == "tiny" && !selection.parts.contains("210.pci");
  LinkedKernel kernel = link_kernel(directory, components, selection,
                                    may_be_low ? Placement::kLow : Placement::kHigh);
  if (may_be_low && !fits_low(kernel, tree)) {
    kernel = link_kernel(directory, components, selection, Placement::kHigh);
  }
  nlohmann::ordered_json shares = nlohmann::ordered_json::array();
  for (const Share& share : account(kernel)) {
    shares.push_back({{"component", share.component},
                      {"size", share.size},
                      {"zeroed", share.memory},
                      {"because_of", share.reasons}});
  }
  const nlohmann::ordered_json contents = {{"profile", set},
                                           {"system_calls", selection.calls},
                                           {"boot_parts", selection.parts},
                                           {"notes", selection.notes},
                                           {"components", shares}};
  KernelFiles files = {.elf = kernel.elf, .unpacker = {}};
  if (set == "tiny") files.unpacker = directory / "unpack.bin";
  return {.files = std::move(files), .contents = contents.dump(1)};
}

}  // namespace aril::tool
