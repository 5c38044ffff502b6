#include <filesystem>
#include <iostream>

#include "base/process_abi.hpp"
#include "command_line/commands.hpp"
#include "command_line/target.hpp"
#include "image/root_builder.hpp"
#include "support/file.hpp"
#include "symbolizer/symbolizer.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

/// Files that an image was made of, or without one those of this host with the same paths.
Symbolizer::FindFile finder(const std::string& target) {
  if (target.empty()) {
    return [](const std::string& path) -> std::optional<fs::path> {
      std::error_code ignored;
      return fs::is_regular_file(path, ignored) ? std::optional<fs::path>(path) : std::nullopt;
    };
  }
  const auto plan =
      std::make_shared<RootPlan>(plan_root(manifest_of(target, classify_target(target))));
  return [plan](const std::string& path) { return host_file(plan->tree, path); };
}

/// Whether a line has an address of the kernel that runs as a process: those of a virtual machine's
/// are at the other end of the address space.
bool is_of_process_kernel(const std::string& line) {
  constexpr std::string_view kPrefix = " 0x";
  for (size_t at = line.find(kPrefix); at != line.npos; at = line.find(kPrefix, at + 1)) {
    const uint64_t address = std::strtoull(line.c_str() + at + 1, nullptr, 16);
    if (address >= kProcessKernelBase && address < kProcessKernelEnd) return true;
  }
  return false;
}

}  // namespace

int symbolize(const SymbolizeOptions& options) {
  const fs::path installed = executable_directory().parent_path() / "lib" / "aril";
  const Symbolizer::FindFile find = finder(options.target);
  Symbolizer machine(find_kernel(options.kernel), find);
  Symbolizer process(installed / "process-kernel.elf", find);
  for (std::string line; std::getline(std::cin, line);)
    std::cout << (is_of_process_kernel(line) ? process : machine).annotate(line) << std::endl;
  return 0;
}

}  // namespace aril::tool
