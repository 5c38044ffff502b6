#pragma once
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "elf/library_search.hpp"

namespace aril::tool {

/// A library that a file needs and that is nowhere.
struct MissingLibrary {
  std::string name;
  std::filesystem::path needed_by;
};

/// Everything that a set of ELF files needs in order to be loaded.
struct Closure {
  std::set<std::filesystem::path> files;  ///< loaders and libraries, host paths as ld.so opens them
  std::vector<MissingLibrary> missing;
};

/// Collects closures of programs and libraries. A file is read once, however often it is asked for.
class ClosureBuilder {
 public:
  /// @param root  where the files come from; empty: this host
  /// @param library_path  the program's LD_LIBRARY_PATH
  explicit ClosureBuilder(std::filesystem::path root = {}, std::string library_path = {});

  /// Adds what `path`, an ELF file, needs (not `path` itself). A missing loader is an Error, and so
  /// is `path` when it is damaged; missing libraries are listed.
  void add(const std::filesystem::path& path);
  const Closure& closure() const { return closure_; }

 private:
  void add_needed(const Requester& requester, const LibraryRules& rules, int depth);
  const LibraryRules& rules_for(const std::string& interpreter);

  std::filesystem::path root_;
  std::string library_path_;
  Closure closure_;
  std::set<std::filesystem::path> visited_;
  std::map<std::string, LibraryRules> rules_;
};

}  // namespace aril::tool
