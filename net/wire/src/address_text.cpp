#include "net/wire/address_text.hpp"

#include <algorithm>
#include <array>

#include "base/number_text.hpp"

namespace aril::net {
namespace {

std::optional<uint32_t> parse_ipv4(std::string_view text) {
  uint32_t address = 0;
  for (int i = 0; i < 4; ++i) {
    size_t length = std::min(text.find('.'), text.size());
    // The last byte has no dot after it; the others must.
    if ((length == text.size()) != (i == 3)) return std::nullopt;
    auto byte = parse_number(text.substr(0, length), 10, 255);
    if (!byte) return std::nullopt;
    address = address << 8 | static_cast<uint32_t>(*byte);
    text.remove_prefix(std::min(length + 1, text.size()));
  }
  return address;
}

enum class Ipv4Tail : uint8_t { kNo, kYes };

/// Groups separated by colons, at most `room`; an IPv4 address may stand for the last two where
/// the whole address ends. The count.
std::optional<size_t> parse_groups(std::string_view text, std::array<uint16_t, 8>& groups,
                                   size_t room, Ipv4Tail tail) {
  size_t count = 0;
  while (!text.empty()) {
    size_t length = std::min(text.find(':'), text.size());
    std::string_view part = text.substr(0, length);
    bool is_last = length == text.size();
    if (tail == Ipv4Tail::kYes && is_last && part.find('.') != std::string_view::npos) {
      auto ipv4 = parse_ipv4(part);
      if (!ipv4 || count + 2 > room) return std::nullopt;
      groups[count++] = static_cast<uint16_t>(*ipv4 >> 16);
      groups[count++] = static_cast<uint16_t>(*ipv4);
      return count;
    }
    auto group = part.size() > 4 ? std::nullopt : parse_number(part, 16, 0xffff);
    if (!group || count == room || (!is_last && length + 1 == text.size())) return std::nullopt;
    groups[count++] = static_cast<uint16_t>(*group);
    text.remove_prefix(std::min(length + 1, text.size()));
  }
  return count;
}

}  // namespace

std::optional<IpAddress> parse_address(std::string_view text) {
  if (text.find(':') == std::string_view::npos) {
    auto ipv4 = parse_ipv4(text);
    return ipv4 ? std::optional(IpAddress::v4(*ipv4)) : std::nullopt;
  }
  std::array<uint16_t, 8> groups = {}, tail = {};
  size_t gap = text.find("::");
  if (gap == std::string_view::npos) {
    if (parse_groups(text, groups, 8, Ipv4Tail::kYes) != 8) return std::nullopt;
  } else {
    auto before = parse_groups(text.substr(0, gap), groups, 7, Ipv4Tail::kNo);
    auto after = parse_groups(text.substr(gap + 2), tail, 7, Ipv4Tail::kYes);
    if (!before || !after || *before + *after > 7) return std::nullopt;
    std::copy_n(tail.begin(), *after, groups.end() - static_cast<ptrdiff_t>(*after));
  }
  uint64_t halves[2] = {};
  for (size_t i = 0; i < groups.size(); ++i) halves[i / 4] = halves[i / 4] << 16 | groups[i];
  return IpAddress::v6(halves[0], halves[1]);
}

void AddressText::append(std::string_view text) {
  std::copy(text.begin(), text.end(), text_.begin() + static_cast<ptrdiff_t>(length_));
  length_ += text.size();
}

AddressText::AddressText(IpAddress address) {
  // By hand: std::to_chars for any base is 2 KB, which every image would carry.
  auto number = [&](uint32_t value, uint32_t base) {
    std::array<char, 8> digits;
    size_t first = digits.size();
    do {
      digits[--first] = "0123456789abcdef"[value % base];
      value /= base;
    } while (value != 0);
    append({digits.data() + first, digits.size() - first});
  };
  if (address.is_v4()) {
    for (unsigned shift = 32; shift != 0; shift -= 8) {
      if (shift != 32) append(".");
      number(address.v4_value() >> (shift - 8) & 255, 10);
    }
    return;
  }
  uint16_t groups[8];
  for (unsigned i = 0; i < 8; ++i)
    groups[i] =
        static_cast<uint16_t>((i < 4 ? address.high() : address.low()) >> (48 - i % 4 * 16));
  // [RFC 5952] 4.2: the longest run of zeros, the first of equals, at least two.
  unsigned best = 8, best_length = 1;
  for (unsigned i = 0; i < 8; ++i) {
    unsigned length = 0;
    while (i + length < 8 && groups[i + length] == 0) ++length;
    if (length > best_length) {
      best = i;
      best_length = length;
    }
  }
  for (unsigned i = 0; i < 8;) {
    if (i == best) {
      append("::");
      i += best_length;
      continue;
    }
    if (i != 0 && i != best + best_length) append(":");
    number(groups[i++], 16);
  }
}

}  // namespace aril::net
