#pragma once
#include <span>
#include <string_view>

namespace aril::log_internal {

/// Writes prefix, text (control characters made blanks) and a newline to the console as one line.
/// Takes no lock once a panic has begun: its holder may be what failed.
void write_console_line(std::string_view prefix, std::span<char> text);

[[nodiscard]] bool is_panicking();

}  // namespace aril::log_internal
