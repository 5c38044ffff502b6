#include "network_option.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace aril::platform {
namespace {

/// Takes what stands before `separator` (or everything) off the front of `text`.
std::string_view take_until(std::string_view& text, char separator) {
  size_t length = std::min(text.find(separator), text.size());
  std::string_view part = text.substr(0, length);
  text.remove_prefix(std::min(length + 1, text.size()));
  return part;
}

std::optional<uint32_t> parse_bounded(std::string_view text, uint32_t limit) {
  uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty() || value > limit)
    return std::nullopt;
  return value;
}

std::optional<net::IpAddress> parse_address(std::string_view text) {
  uint32_t address = 0;
  for (int i = 0; i < 4; ++i) {
    // The last byte has no dot after it; the others must.
    if (i < 3 && text.find('.') == std::string_view::npos) return std::nullopt;
    auto byte = parse_bounded(i < 3 ? take_until(text, '.') : text, 255);
    if (!byte) return std::nullopt;
    address = address << 8 | *byte;
  }
  return net::IpAddress::v4(address);
}

}  // namespace

Result<NetworkOption> parse_network_option(std::string_view text) {
  using Kind = NetworkOption::Kind;
  if (text.empty() || text == "dhcp") return NetworkOption{Kind::kDhcp};
  if (text == "none") return NetworkOption{Kind::kNone};
  NetworkOption option{Kind::kStatic};
  std::string_view network = take_until(text, ',');
  auto address = parse_address(take_until(network, '/'));
  auto prefix = parse_bounded(network, 32);
  if (!address || !prefix) return fail(Errno::kInval);
  option.address = *address;
  option.prefix_length = static_cast<uint8_t>(*prefix);
  if (std::string_view gateway = take_until(text, ','); !gateway.empty()) {
    auto parsed = parse_address(gateway);
    if (!parsed) return fail(Errno::kInval);
    option.gateway = *parsed;
  }
  while (!text.empty()) {
    auto parsed = parse_address(take_until(text, ','));
    if (!parsed) return fail(Errno::kInval);
    option.nameservers.push_back(*parsed);
  }
  return option;
}

}  // namespace aril::platform
