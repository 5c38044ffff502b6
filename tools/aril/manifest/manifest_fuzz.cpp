#include <cstdint>

#include "manifest/manifest.hpp"
#include "support/error.hpp"

/// Any text is either a manifest or refused with an Error.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    aril::tool::parse_manifest({reinterpret_cast<const char*>(data), size}, "fuzz.aril", "/");
  } catch (const aril::tool::Error&) {}
  return 0;
}
