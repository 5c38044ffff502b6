#include "elf/library_cache.hpp"

#include <cstring>
#include <string_view>

#include "elf/elf_file.hpp"

namespace aril::tool {

namespace {

/// As glibc's sysdeps/generic/dl-cache.h describes the format.
struct CacheHeader {
  char magic[20];
  uint32_t count;
  uint32_t strings_size;
  uint8_t flags;
  uint8_t padding[3];
  uint32_t extension_offset;
  uint32_t unused[3];
};
static_assert(sizeof(CacheHeader) == 48);

struct CacheEntry {
  int32_t flags;
  uint32_t name;  ///< offsets from the start of the header
  uint32_t path;
  uint32_t os_version;
  uint64_t hardware;
};
static_assert(sizeof(CacheEntry) == 24);

constexpr std::string_view kMagic = "glibc-ld.so.cache1.1";
constexpr int32_t kX8664Glibc = 0x0303;

}  // namespace

LibraryCache LibraryCache::parse(std::span<const std::byte> bytes) {
  LibraryCache cache;
  const auto header = read_at<CacheHeader>(bytes, 0);
  if (!header || std::memcmp(header->magic, kMagic.data(), kMagic.size()) != 0) return cache;
  for (uint32_t i = 0; i < header->count; ++i) {
    const auto entry =
        read_at<CacheEntry>(bytes, sizeof(CacheHeader) + uint64_t{i} * sizeof(CacheEntry));
    if (!entry) break;
    if (entry->flags != kX8664Glibc || entry->hardware != 0) continue;
    const auto name = string_at(bytes, entry->name);
    const auto path = string_at(bytes, entry->path);
    if (name && path) cache.paths_.emplace(*name, *path);
  }
  return cache;
}

std::optional<std::filesystem::path> LibraryCache::find(const std::string& name) const {
  const auto found = paths_.find(name);
  if (found == paths_.end()) return std::nullopt;
  return found->second;
}

}  // namespace aril::tool
