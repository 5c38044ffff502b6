#include "base/number_text.hpp"

namespace aril {

namespace {

/// `base` when it is no digit.
uint32_t digit_of(char c, uint32_t base) {
  const auto lower = static_cast<char>(c | 0x20);
  if (c >= '0' && c <= '9') return static_cast<uint32_t>(c - '0');
  if (lower >= 'a' && lower <= 'f') return static_cast<uint32_t>(lower - 'a') + 10;
  return base;
}

}  // namespace

std::optional<uint64_t> take_number(std::string_view& text, uint32_t base) {
  uint64_t value = 0;
  size_t length = 0;
  for (; length < text.size(); ++length) {
    uint32_t digit = digit_of(text[length], base);
    if (digit >= base) break;
    if (__builtin_mul_overflow(value, base, &value) ||
        __builtin_add_overflow(value, digit, &value)) {
      return std::nullopt;
    }
  }
  if (length == 0) return std::nullopt;
  text.remove_prefix(length);
  return value;
}

std::optional<uint64_t> parse_number(std::string_view text, uint32_t base, uint64_t limit) {
  std::optional<uint64_t> value = take_number(text, base);
  if (!value || !text.empty() || *value > limit) return std::nullopt;
  return value;
}

}  // namespace aril
