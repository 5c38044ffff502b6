#include "elf/library_search.hpp"

#include <string_view>

#include "support/error.hpp"
#include "support/file.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

fs::path under(const fs::path& root, const fs::path& path) {
  return root.empty() ? path : root / path.relative_path();
}

/// ld.so passes over files that it could not load, whatever their name.
bool is_loadable(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return false;
  const std::string start = read_prefix(path, sizeof(Elf64_Ehdr));
  const auto header = read_at<Elf64_Ehdr>(bytes_of(start), 0);
  return header && looks_like_elf(bytes_of(start)) && header->e_ident[EI_CLASS] == ELFCLASS64 &&
         header->e_ident[EI_DATA] == ELFDATA2LSB && header->e_machine == EM_X86_64;
}

/// $ORIGIN, $LIB and $PLATFORM, with and without braces (ld.so(8)).
std::string expand_tokens(std::string text, const fs::path& origin) {
  const std::pair<std::string_view, std::string> tokens[] = {
      {"ORIGIN", origin.string()}, {"LIB", "lib/x86_64-linux-gnu"}, {"PLATFORM", "x86_64"}};
  for (const auto& [name, value] : tokens) {
    for (const std::string& spelling : {std::format("${{{}}}", name), std::format("${}", name)}) {
      for (size_t at = text.find(spelling); at != std::string::npos;
           at = text.find(spelling, at + value.size())) {
        text.replace(at, spelling.size(), value);
      }
    }
  }
  return text;
}

std::optional<fs::path> search_list(const std::string& list, const std::string& name,
                                    const fs::path& object, const fs::path& root) {
  for (const std::string& entry : split(list, ':')) {
    if (entry.empty()) continue;
    // The object's path is one on the host already; what stands in the file is relative to root.
    const bool relative_to_object = entry.starts_with("$ORIGIN") || entry.starts_with("${ORIGIN}");
    const fs::path directory = expand_tokens(entry, object.parent_path());
    const fs::path candidate = (relative_to_object ? directory : under(root, directory)) / name;
    if (is_loadable(candidate)) return candidate.lexically_normal();
  }
  return std::nullopt;
}

}  // namespace

LibraryRules LibraryRules::for_interpreter(const std::string& interpreter, const fs::path& root) {
  LibraryRules rules;
  rules.root = root;
  const std::string name = fs::path(interpreter).filename();
  if (name.starts_with("ld-musl-")) {
    const fs::path list = under(root, "/etc/ld-musl-x86_64.path");
    std::error_code ignored;
    if (fs::is_regular_file(list, ignored)) {
      std::string text = read_file(list);
      for (char& c : text) c = c == '\n' ? ':' : c;
      for (const std::string& directory : split(text, ':')) {
        if (!directory.empty()) rules.directories.emplace_back(directory);
      }
    } else {
      rules.directories = {"/lib", "/usr/local/lib", "/usr/lib"};
    }
    return rules;
  }
  const fs::path cache = under(root, "/etc/ld.so.cache");
  std::error_code ignored;
  if (fs::is_regular_file(cache, ignored)) {
    rules.cache = LibraryCache::parse(MappedFile(cache).bytes());
  }
  rules.directories = {"/lib/x86_64-linux-gnu",
                       "/usr/lib/x86_64-linux-gnu",
                       "/lib64",
                       "/usr/lib64",
                       "/lib",
                       "/usr/lib"};
  return rules;
}

std::optional<fs::path> find_library(const std::string& name, const Requester& requester,
                                     const LibraryRules& rules, const std::string& library_path) {
  if (name.contains('/')) {
    const fs::path path = under(rules.root, expand_tokens(name, requester.path.parent_path()));
    if (is_loadable(path)) return path;
    return std::nullopt;
  }
  if (!requester.file->runpath) {
    for (const Requester* object = &requester; object != nullptr; object = object->loader) {
      if (!object->file->rpath || object->file->runpath) continue;
      if (auto found = search_list(*object->file->rpath, name, object->path, rules.root)) {
        return found;
      }
    }
  }
  if (auto found = search_list(library_path, name, requester.path, rules.root)) return found;
  if (requester.file->runpath) {
    auto found = search_list(*requester.file->runpath, name, requester.path, rules.root);
    if (found) return found;
  }
  if (const auto cached = rules.cache.find(name)) {
    const fs::path path = under(rules.root, *cached);
    if (is_loadable(path)) return path;
  }
  for (const fs::path& directory : rules.directories) {
    const fs::path path = under(rules.root, directory) / name;
    if (is_loadable(path)) return path;
  }
  return std::nullopt;
}

}  // namespace aril::tool
