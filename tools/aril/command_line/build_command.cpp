#include <cstdio>
#include <format>

#include "command_line/commands.hpp"
#include "command_line/target.hpp"
#include "image/root_builder.hpp"
#include "machine/freeze.hpp"
#include "machine/qemu_command.hpp"
#include "support/error.hpp"
#include "support/file.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace {

/// An image that is not what was asked for does not stay.
void freeze(const std::filesystem::path& image, FreezingPoint point, const BuildOptions& options,
            const Manifest& manifest) {
  try {
    const Accelerator accelerator =
        choose_accelerator(parse_accelerator(options.accelerator), find_qemu());
    freeze_image(image, point,
                 {.type = manifest.machine.value_or(MachineType::kMicrovm),
                  .accelerator = accelerator,
                  .memory = manifest.memory.value_or(kDefaultMemory)});
  } catch (const Error& error) {
    std::filesystem::remove(image);
    throw Error(std::format("{}: {}", image.string(), error.what()), error.hint(), error.status());
  }
}

}  // namespace

int build(const BuildOptions& options) {
  const TargetKind kind = classify_target(options.content.target);
  if (kind == TargetKind::kImage) {
    throw Error(std::format("{}: is an image already", options.content.target));
  }
  Manifest manifest = manifest_of(options.content.target, kind);
  apply(options, manifest);
  if (manifest.profile == Profile::kUnset) manifest.profile = Profile::kDefault;
  const std::optional<FreezingPoint> point = freezing_point(manifest);
  if (point && manifest.profile == Profile::kTiny) {
    throw Error("an image of the profile tiny, which unpacks itself, cannot be frozen",
                "--profile default");
  }
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
  if (point) freeze(files.image, *point, options, manifest);
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
