#include "image/root_builder.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <set>
#include <span>

#include "elf/elf_file.hpp"
#include "image/etc_files.hpp"
#include "image/script.hpp"
#include "support/error.hpp"
#include "support/file.hpp"
#include "support/process.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

constexpr const char* kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

std::string variable(const Manifest& manifest, const std::string& name) {
  for (const auto& [key, value] : manifest.environment) {
    if (key == name) return value;
  }
  return {};
}

BootRecords records_of(const Manifest& manifest, const std::string& exec) {
  BootRecords records;
  records.exec = exec;
  records.arguments = {manifest.program};
  records.arguments.insert(records.arguments.end(), manifest.arguments.begin(),
                           manifest.arguments.end());
  records.environment = manifest.environment;
  for (const auto& [name, value] : {std::pair("PATH", kDefaultPath), std::pair("HOME", "/root")}) {
    if (variable(manifest, name).empty()) records.environment.emplace_back(name, value);
  }
  records.cwd = manifest.cwd.value_or("/");
  records.hostname = manifest.hostname.value_or("aril");
  records.user = manifest.user;
  return records;
}

void check_program(const fs::path& program) {
  std::error_code ignored;
  if (!fs::exists(program, ignored)) {
    throw Error(std::format("{}: no such program", program.string()), {}, ExitStatus::kNotFound);
  }
  with_context(program.string(), [&] {
    const ElfFile file = parse_elf(MappedFile(program).bytes());
    if (file.type != ET_EXEC && file.type != ET_DYN) {
      throw Error("is an object file, not a program", {}, ExitStatus::kNotExecutable);
    }
    if (file.segments.empty()) {
      throw Error("is damaged: it has nothing to load", {}, ExitStatus::kNotExecutable);
    }
  });
}

void fail_missing(const MissingLibrary& missing) {
  throw Error(std::format("{}: needs the library {}, which is not on this host",
                          missing.needed_by.string(), missing.name),
              "install it, or name its directory with --env LD_LIBRARY_PATH=DIR",
              ExitStatus::kNotExecutable);
}

/// Libraries of the ELF files among those that the manifest added: modules, plug-ins.
void add_libraries_of_files(Tree& tree, ClosureBuilder& closure) {
  std::vector<fs::path> candidates;
  for (const auto& [path, entry] : tree.entries()) {
    const bool may_be_elf =
        entry.kind == EntryKind::kHostFile && ((entry.mode & 0111) != 0 || path.contains(".so"));
    if (may_be_elf) candidates.push_back(entry.host);
  }
  for (const fs::path& host : candidates) {
    if (!looks_like_elf(bytes_of(read_prefix(host, SELFMAG)))) continue;
    try {
      closure.add(host);
    } catch (const Error&) {
      // A data file that looks like a program, or a program for another machine: it goes along as
      // the bytes that it is.
      continue;
    }
  }
}

/// Links of added trees often lead out of them (python's sitecustomize.py into /etc): take the file
/// along when the tree stands where it stands on the host.
void add_link_targets(Tree& tree) {
  std::vector<fs::path> targets;
  for (const auto& [path, entry] : tree.entries()) {
    std::error_code ignored;
    if (entry.kind != EntryKind::kLink || tree.find(path) != nullptr) continue;
    if (!fs::is_symlink(path, ignored) || fs::read_symlink(path, ignored) != entry.text) continue;
    if (fs::is_regular_file(path, ignored)) targets.emplace_back(path);
  }
  for (const fs::path& target : targets) tree.add_mirrored(target);
}

/// Those of which the image has no file anywhere. Some that the search does not find are loaded by
/// the program itself, by their path (Java's libjvm.so), before the files that need them.
std::vector<MissingLibrary> really_missing(const std::vector<MissingLibrary>& not_found,
                                           const Tree& tree) {
  std::set<std::string> names;
  for (const auto& [path, entry] : tree.entries()) {
    if (entry.kind != EntryKind::kDirectory) names.insert(fs::path(path).filename());
  }
  std::vector<MissingLibrary> missing;
  std::ranges::copy_if(not_found, std::back_inserter(missing), [&](const MissingLibrary& library) {
    return !names.contains(library.name);
  });
  return missing;
}

/// A script that the manifest names brings its interpreter along when this host has it.
void add_interpreters(Tree& tree, const fs::path& file) {
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored) || ::access(file.c_str(), X_OK) != 0) return;
  if (!read_script_line(file)) return;
  try {
    const std::vector<fs::path> programs = programs_to_execute(file);
    for (const fs::path& path : std::span(programs).subspan(1)) tree.add_mirrored(path);
  } catch (const Error&) {
    // It goes along as the text that it is.
    return;
  }
}

RootPlan plan_from_directory(const Manifest& manifest) {
  const fs::path& root = *manifest.root;
  std::error_code ignored;
  if (!fs::is_directory(root, ignored)) {
    throw Error(std::format("{}: the root is not a directory", root.string()));
  }
  RootPlan plan;
  plan.tree.add(root, "/");
  for (const FileMapping& file : manifest.files) plan.tree.add(file.host, file.guest);
  std::string exec = manifest.program;
  if (!exec.contains('/')) {
    for (const std::string& directory : split(kDefaultPath, ':')) {
      if (plan.tree.find(directory + "/" + exec) == nullptr) continue;
      exec = directory + "/" + exec;
      break;
    }
  }
  const TreeEntry* entry = plan.tree.find(exec);
  if (!exec.contains('/') || entry == nullptr) {
    throw Error(std::format("{}: no such program in {}", manifest.program, root.string()), {},
                ExitStatus::kNotFound);
  }
  // What interprets a script is looked for inside the root when it is executed.
  if (entry->kind == EntryKind::kHostFile && !read_script_line(entry->host)) {
    check_program(entry->host);
    plan.program = entry->host;
  }
  plan.records = records_of(manifest, fs::path("/") / exec);
  return plan;
}

RootPlan plan_from_host(const Manifest& manifest) {
  RootPlan plan;
  const auto found = find_executable(manifest.program);
  if (!found) {
    throw Error(std::format("{}: no such program in PATH", manifest.program), {},
                ExitStatus::kNotFound);
  }
  const fs::path program = fs::absolute(*found).lexically_normal();
  const std::vector<fs::path> executed = programs_to_execute(program);
  plan.program = executed.back();
  check_program(plan.program);
  plan.records = records_of(manifest, program);

  ClosureBuilder closure({}, variable(manifest, "LD_LIBRARY_PATH"));
  for (const fs::path& path : executed) {
    plan.tree.add_mirrored(path);
    if (!read_script_line(path)) closure.add(path);
  }
  if (!closure.closure().missing.empty()) fail_missing(closure.closure().missing.front());
  for (const FileMapping& file : manifest.files) {
    if (file.guest == file.host && fs::is_symlink(file.host)) {
      plan.tree.add_mirrored(file.host);
    }
    plan.tree.add(file.host, file.guest);
    add_interpreters(plan.tree, file.host);
  }
  add_link_targets(plan.tree);
  add_libraries_of_files(plan.tree, closure);
  for (const fs::path& library : closure.closure().files) plan.tree.add_mirrored(library);
  plan.warnings = really_missing(closure.closure().missing, plan.tree);
  return plan;
}

/// Leaves out of programs what is not loaded: symbols, debug information, section headers.
void strip_programs(Tree& tree) {
  std::map<std::string, std::string> stripped;
  for (const auto& [path, entry] : tree.entries()) {
    if (entry.kind != EntryKind::kHostFile) continue;
    if (!looks_like_elf(bytes_of(read_prefix(entry.host, SELFMAG)))) continue;
    const MappedFile file(entry.host);
    auto header = read_at<Elf64_Ehdr>(file.bytes(), 0);
    uint64_t end = 0;
    try {
      for (const ElfSegment& segment : parse_elf(file.bytes()).segments) {
        end = std::max(end, segment.offset + segment.file_size);
      }
    } catch (const Error&) {
      continue;  // for another machine: it goes along as it is
    }
    if (!header || end > file.bytes().size() ||
        header->e_phoff + uint64_t{header->e_phnum} * sizeof(Elf64_Phdr) > end) {
      continue;
    }
    header->e_shoff = 0;
    header->e_shnum = header->e_shstrndx = 0;
    std::string content(reinterpret_cast<const char*>(file.bytes().data()), end);  // bytes
    std::memcpy(content.data(), &*header, sizeof *header);
    stripped[path] = std::move(content);
  }
  for (auto& [path, content] : stripped) tree.replace_content(path, std::move(content));
}

/// The C library of a dynamic program looks for names of users, hosts and services in files.
bool looks_names_up(const fs::path& program) {
  return !program.empty() && parse_elf(MappedFile(program).bytes()).interpreter.has_value();
}

}  // namespace

RootPlan plan_root(const Manifest& manifest) {
  RootPlan plan = manifest.root ? plan_from_directory(manifest) : plan_from_host(manifest);
  for (const std::string& directory : manifest.directories) plan.tree.add_directory(directory);
  for (const auto& [path, target] : manifest.links) plan.tree.add_link(path, target);
  const bool is_tiny = manifest.profile == Profile::kTiny;
  if (is_tiny) strip_programs(plan.tree);
  if (manifest.root || (is_tiny && !looks_names_up(plan.program))) {
    add_mount_points(plan.tree);
  } else {
    const Network network = manifest.network.value_or(Network());
    add_system_files(plan.tree, *plan.records.hostname,
                     network.kind == NetworkKind::kUser ? "10.0.2.3" : network.nameserver);
  }
  return plan;
}

}  // namespace aril::tool
