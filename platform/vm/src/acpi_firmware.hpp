#pragma once
#include "firmware.hpp"

namespace aril::platform {

/// Reads the ACPI tables, or without them the MP table. In a component of its own: null in an image
/// for a machine with one CPU whose devices stand on the command line.
[[gnu::weak]] void read_acpi(uint64_t rsdp, Firmware& firmware);

}  // namespace aril::platform
