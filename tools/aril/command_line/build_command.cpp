#include <cstdio>
#include <format>

#include "command_line/commands.hpp"
#include "command_line/target.hpp"
#include "image/root_builder.hpp"
#include "support/error.hpp"
#include "support/file.hpp"
#include "support/text.hpp"

namespace aril::tool {

int build(const BuildOptions& options) {
  const TargetKind kind = classify_target(options.content.target);
  if (kind == TargetKind::kImage) {
    throw Error(std::format("{}: is an image already", options.content.target));
  }
  Manifest manifest = manifest_of(options.content.target, kind);
  apply(options.content, manifest);
  if (manifest.profile == Profile::kUnset) manifest.profile = Profile::kDefault;
  RootPlan plan = plan_root(manifest);
  for (const MissingLibrary& missing : plan.warnings) {
    std::fputs(std::format("aril: warning: {} needs {}, which is not on this host\n",
                           missing.needed_by.string(), missing.name)
                   .c_str(),
               stderr);
  }
  plan.tree.add_content(kBootRecordsPath, to_file_content(plan.records));
  const SpecialKernel kernel = choose_kernel(options.content, manifest, plan.tree);
  const ImageFiles files = write_image_files(
      kernel.files, plan.tree, largest_root_in_memory(options.content, manifest), options.output);
  if (!kernel.contents.empty()) write_file(options.output + kContentsSuffix, kernel.contents);
  const auto describe = [](const std::filesystem::path& path) {
    return std::format("{} ({})", path.string(), human_size(std::filesystem::file_size(path)));
  };
  std::string line = std::format("wrote {}", describe(files.image));
  if (files.root) {
    line += std::format(" and its root {}; attach it as a virtio-blk disk", describe(*files.root));
  }
  std::puts(line.c_str());
  return 0;
}

}  // namespace aril::tool
