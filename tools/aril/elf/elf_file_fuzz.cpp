#include <cstdint>
#include <span>

#include "elf/elf_file.hpp"
#include "elf/library_cache.hpp"
#include "support/error.hpp"

/// Any bytes are either described or refused with an Error.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    aril::tool::parse_elf(bytes);
  } catch (const aril::tool::Error&) {}
  aril::tool::LibraryCache::parse(bytes);
  return 0;
}
