#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace aril::tool {

/// The parts of `text` between `separator`s; one empty part for an empty text.
std::vector<std::string> split(std::string_view text, char separator);

std::string_view trim(std::string_view text);

/// The whole text as a decimal (or 0x-prefixed) number; nothing when it is anything else or does
/// not fit.
std::optional<uint64_t> parse_number(std::string_view text);

/// For the kernel's command line (base/image_abi.hpp): blanks, quotes, '%' and bytes other than
/// printable ASCII become %XX.
std::string percent_encode(std::string_view text);

/// The inverse; nothing when a '%' is not followed by two hexadecimal digits.
std::optional<std::string> percent_decode(std::string_view text);

/// FNV-1a, 64 bits: names what is cached; the key itself is compared in full.
uint64_t fnv1a(std::string_view text);

/// "12.3 MiB"
std::string human_size(uint64_t bytes);

/// The candidate nearest to a mistyped word, when one is near enough to be what was meant.
std::optional<std::string> nearest(std::string_view word,
                                   const std::vector<std::string>& candidates);

}  // namespace aril::tool
