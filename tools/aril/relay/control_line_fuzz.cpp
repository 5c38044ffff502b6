#include <cstdint>
#include <cstdlib>

#include "relay/control_line.hpp"
#include "symbolizer/symbolizer.hpp"

/// Whatever a guest says becomes records of bounded size.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace aril::tool;
  ControlLine line;
  Symbolizer symbolizer("/nonexistent", [](const std::string&) { return std::nullopt; });
  for (const ControlRecord& record : line.feed({reinterpret_cast<const char*>(data), size})) {
    if (record.text.size() > ControlLine::kLongestLine) abort();
    symbolizer.annotate(record.text);
  }
  line.finish();
  return 0;
}
