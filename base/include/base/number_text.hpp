#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

namespace aril {

// std::from_chars is a template for each type and base, of which every image would carry several.

/// Takes the digits of `base`, at most 16, off the front of `text`. Nothing when there is none or
/// the number does not fit; `text` is unchanged then.
std::optional<uint64_t> take_number(std::string_view& text, uint32_t base = 10);

/// The number that all of `text` is, in digits alone. Nothing when it is none or above `limit`.
std::optional<uint64_t> parse_number(std::string_view text, uint32_t base = 10,
                                     uint64_t limit = std::numeric_limits<uint64_t>::max());

}  // namespace aril
