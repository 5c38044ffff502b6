#include "elf/closure.hpp"

#include "support/error.hpp"
#include "support/file.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

constexpr int kMaximumDepth = 64;
constexpr const char* kGlibcLoader = "/lib64/ld-linux-x86-64.so.2";

}  // namespace

ClosureBuilder::ClosureBuilder(fs::path root, std::string library_path)
    : root_(std::move(root)), library_path_(std::move(library_path)) {}

const LibraryRules& ClosureBuilder::rules_for(const std::string& interpreter) {
  const auto found = rules_.find(interpreter);
  if (found != rules_.end()) return found->second;
  return rules_.emplace(interpreter, LibraryRules::for_interpreter(interpreter, root_))
      .first->second;
}

void ClosureBuilder::add(const fs::path& path) {
  if (!visited_.insert(path).second) return;
  const ElfFile file =
      with_context(path.string(), [&] { return parse_elf(MappedFile(path).bytes()); });
  if (file.interpreter) {
    const fs::path loader = root_.empty() ? fs::path(*file.interpreter)
                                          : root_ / fs::path(*file.interpreter).relative_path();
    std::error_code ignored;
    if (!fs::exists(loader, ignored)) {
      throw Error(std::format("{}: its loader {} is missing", path.string(), *file.interpreter),
                  "install the C library that the program was built for",
                  ExitStatus::kNotExecutable);
    }
    closure_.files.insert(loader);
  }
  if (file.needed.empty()) return;
  const Requester requester = {.file = &file, .path = path};
  add_needed(requester, rules_for(file.interpreter.value_or(kGlibcLoader)), 0);
}

void ClosureBuilder::add_needed(const Requester& requester, const LibraryRules& rules, int depth) {
  if (depth > kMaximumDepth) {
    throw Error(std::format("{}: its libraries need each other more than {} levels deep",
                            requester.path.string(), kMaximumDepth));
  }
  for (const std::string& name : requester.file->needed) {
    const auto found = find_library(name, requester, rules, library_path_);
    if (!found) {
      // musl's libc is its loader, under another name.
      if (name.starts_with("libc.musl-") || name == "libc.so") continue;
      closure_.missing.push_back({name, requester.path});
      continue;
    }
    closure_.files.insert(*found);
    if (!visited_.insert(*found).second) continue;
    const ElfFile file =
        with_context(found->string(), [&] { return parse_elf(MappedFile(*found).bytes()); });
    add_needed({.file = &file, .path = *found, .loader = &requester}, rules, depth + 1);
  }
}

}  // namespace aril::tool
