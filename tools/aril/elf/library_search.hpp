#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "elf/elf_file.hpp"
#include "elf/library_cache.hpp"

namespace aril::tool {

/// Where a program's dynamic loader looks for libraries after the search paths in the files.
struct LibraryRules {
  LibraryCache cache;
  std::vector<std::filesystem::path> directories;
  /// Prefix of every path that is tried: the root that the files are taken from. Empty: this host.
  std::filesystem::path root;

  /// glibc's (cache, multiarch and default directories) or musl's (its .path file, else the
  /// default directories), according to the interpreter's name.
  static LibraryRules for_interpreter(const std::string& interpreter,
                                      const std::filesystem::path& root = {});
};

/// An object that asks for a library, and who asked for it.
struct Requester {
  const ElfFile* file = nullptr;
  std::filesystem::path path;  ///< on the host
  const Requester* loader = nullptr;
};

/// The file that ld.so would load for `name`, in ld.so(8)'s order: DT_RPATH of the requester and
/// of those that loaded it (unless it has a DT_RUNPATH), LD_LIBRARY_PATH, DT_RUNPATH, the cache,
/// the default directories. Files of another class or machine are passed over, as ld.so does.
/// Nothing when there is none. `library_path` is the program's LD_LIBRARY_PATH.
std::optional<std::filesystem::path> find_library(const std::string& name,
                                                  const Requester& requester,
                                                  const LibraryRules& rules,
                                                  const std::string& library_path);

}  // namespace aril::tool
