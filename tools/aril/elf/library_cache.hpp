#pragma once
#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>

namespace aril::tool {

/// glibc's /etc/ld.so.cache ("glibc-ld.so.cache1.1"): the x86-64 libraries outside of the default
/// directories, by name. Entries for particular CPUs (glibc-hwcaps) are left out: the image is to
/// run on any.
class LibraryCache {
 public:
  LibraryCache() = default;
  /// Anything that is not such a cache gives an empty one, as ld.so ignores it.
  static LibraryCache parse(std::span<const std::byte> bytes);

  std::optional<std::filesystem::path> find(const std::string& name) const;
  size_t size() const { return paths_.size(); }

 private:
  std::map<std::string, std::filesystem::path, std::less<>> paths_;
};

}  // namespace aril::tool
