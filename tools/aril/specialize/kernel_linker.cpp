#include "specialize/kernel_linker.hpp"

#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <format>

#include "specialize/uses.hpp"
#include "support/error.hpp"
#include "support/file.hpp"
#include "support/process.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kAllCalls = "KEEP(*(aril_syscalls.*))";
constexpr std::string_view kAllParts = "KEEP(*(SORT_BY_NAME(aril_boot_parts.*)))";
constexpr std::string_view kAllProcFiles = "KEEP(*(aril_proc_files))";
constexpr std::string_view kPhysical = "KERNEL_PHYSICAL = 0x100000;";
/// Clear of what firmware and the start of further CPUs use.
constexpr const char* kLowPhysical = "KERNEL_PHYSICAL = 0x10000;";
constexpr std::string_view kLeftOut =
    "aril_left_out_calls = .;\n    aril_left_out_calls_end = .;\n    aril_left_out_names = .;";

void replace(std::string& text, std::string_view what, const std::string& with) {
  const size_t at = text.find(what);
  if (at == std::string::npos) {
    throw Error(std::format("kernel.ld: has no '{}': it belongs to another aril", what));
  }
  text.replace(at, what.size(), with);
}

/// Calls that the archives serve and the image does not, as the kernel reads it
/// (linux/entry/src/dispatch.cpp).
std::string left_out_table(const std::vector<Component>& components, const Selection& selection) {
  std::string calls = "aril_left_out_calls = .;\n";
  std::string names;
  size_t index = 0;
  for (const Component& component : components) {
    bool any = false;
    for (const auto& [name, number] : component.calls) {
      if (selection.calls.contains(name)) continue;
      calls += std::format("    SHORT({}) SHORT({})\n", number, index);
      any = true;
    }
    if (!any) continue;
    ++index;
    for (const char c : component.name) names += std::format("BYTE({}) ", int{c});
    names += "BYTE(0)\n    ";
  }
  return calls + "    aril_left_out_calls_end = .;\n    aril_left_out_names = .;\n    " + names;
}

/// Says which uses the image has, and lets nothing refer to functions for others
/// (base/image_use.hpp). A script's definition of a symbol takes the place of an object's.
std::string definitions_of_uses(const std::vector<Component>& components,
                                const Selection& selection) {
  const std::set<std::string> left_out = left_out_uses(selection);
  std::string text;
  for (const std::string& use : all_uses()) {
    if (!left_out.contains(use)) text += std::format("aril_use_{} = 1;\n", use);
  }
  for (const Component& component : components) {
    for (const auto& [use, functions] : component.functions_for) {
      if (!left_out.contains(use)) continue;
      for (const std::string& function : functions) text += std::format("{} = 0;\n", function);
    }
  }
  return text;
}

std::string script_for(const fs::path& directory, const std::vector<Component>& components,
                       const Selection& selection, Placement placement) {
  std::string script = read_file(directory / "kernel.ld");
  if (placement == Placement::kLow) replace(script, kPhysical, kLowPhysical);
  std::string calls;
  for (const auto& [name, reason] : selection.calls) {
    calls += std::format("KEEP(*(aril_syscalls.{}))\n    ", name);
  }
  std::string parts;  // a map: in order
  for (const auto& [name, reason] : selection.parts) {
    parts += std::format("KEEP(*(aril_boot_parts.{}))\n    ", name);
  }
  std::string proc_files;
  const bool has_proc = selection.parts.contains("440.proc");
  for (const Component& component : components) {
    const bool wanted = std::ranges::any_of(
        component.calls, [&](const auto& call) { return selection.calls.contains(call.first); });
    if (has_proc && component.has_proc_files && wanted) {
      proc_files += std::format("KEEP(*{}.a:*(aril_proc_files))\n    ", component.name);
    }
  }
  replace(script, kAllCalls, calls);
  replace(script, kAllParts, parts);
  replace(script, kAllProcFiles, proc_files);
  replace(script, kLeftOut, left_out_table(components, selection));
  if (selection.set == "tiny") script += definitions_of_uses(components, selection);
  return script;
}

/// Everything of these is looked at; of the others just what something refers to.
bool is_root(const Component& component, const Selection& selection) {
  if (selection.components.contains(component.name) || component.name == "arch") return true;
  return std::ranges::any_of(
             component.calls,
             [&](const auto& call) { return selection.calls.contains(call.first); }) ||
         std::ranges::any_of(component.parts, [&](const std::string& part) {
           return selection.parts.contains(part);
         });
}

std::string identity(const std::vector<Component>& components) {
  std::string text;
  for (const Component& component : components) {
    struct stat status = {};
    if (component.archive.empty() || stat(component.archive.c_str(), &status) != 0) continue;
    text += std::format("{} {} {}.{}\n", component.archive.string(), status.st_size,
                        status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
  }
  return text;
}

}  // namespace

LinkedKernel link_kernel(const fs::path& directory, const std::vector<Component>& components,
                         const Selection& selection, Placement placement) {
  std::vector<std::string> roots;
  std::vector<std::string> others;
  for (const Component& component : components) {
    if (component.archive.empty() || selection.left_out.contains(component.name)) continue;
    (is_root(component, selection) ? roots : others).push_back(component.archive);
  }
  const std::string script = script_for(directory, components, selection, placement);
  const std::string key =
      "2\n" + identity(components) + script + shell_quote(roots) + shell_quote(others);

  const fs::path kernels = cache_directory() / "kernels";
  fs::create_directories(kernels);
  const fs::path place = kernels / std::format("{:016x}", fnv1a(key));
  const LinkedKernel result = {.elf = place / "kernel.elf", .map = place / "kernel.map"};
  std::error_code ignored;
  if (fs::exists(place / "key", ignored) && read_file(place / "key") == key) return result;

  const auto linker = find_executable("ld.lld-19");
  if (!linker) throw Error("ld.lld-19 is not installed", "apt-get install lld-19");
  TemporaryDirectory fresh(kernels);
  write_file(fresh.path() / "kernel.ld", script);
  std::vector<std::string> command = {
      *linker,
      "-static",
      "-nostdlib",
      "-znorelro",
      "-zmax-page-size=4096",
      "--build-id=none",
      "--gc-sections",
      "--icf=all",
      "-O2",
      "--emit-relocs",
      "-T",
      fresh.path() / "kernel.ld",
      "-o",
      fresh.path() / "kernel.elf",
      std::format("-Map={}", (fresh.path() / "kernel.map").string()),
      "--whole-archive"};
  command.insert(command.end(), roots.begin(), roots.end());
  command.insert(command.end(), {"--no-whole-archive", "--start-group"});
  command.insert(command.end(), others.begin(), others.end());
  command.emplace_back("--end-group");
  const CommandResult linked = run_command(command);
  if (!WIFEXITED(linked.status) || WEXITSTATUS(linked.status) != 0) {
    throw Error(std::format("the kernel cannot be linked: {}", trim(linked.error)));
  }
  write_file(fresh.path() / "key", key);
  fs::remove_all(place, ignored);
  fs::rename(fresh.path(), place);
  fresh.keep();  // it is the cache's now, under another name
  return result;
}

}  // namespace aril::tool
