#include "platform/common/network_option.hpp"

#include <algorithm>
#include <optional>
#include <tuple>

#include "base/number_text.hpp"
#include "net/wire/address_text.hpp"

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
  auto value = parse_number(text, 10, limit);
  return value ? std::optional(static_cast<uint32_t>(*value)) : std::nullopt;
}

/// ADDRESS/PREFIX of one family.
std::optional<std::pair<net::IpAddress, uint8_t>> parse_prefix(std::string_view text, bool v4) {
  auto address = net::parse_address(take_until(text, '/'));
  if (!address || address->is_v4() != v4) return std::nullopt;
  auto length = parse_bounded(text, net::max_prefix(*address));
  if (!length) return std::nullopt;
  return std::pair(*address, static_cast<uint8_t>(*length));
}

Result<void> take_ipv6(NetworkOption& option, std::string_view key, std::string_view value) {
  if (key == "ip6") {
    auto parsed = parse_prefix(value, false);
    if (!parsed) return fail(Errno::kInval);
    std::tie(option.address6, option.prefix_length6) = *parsed;
    return {};
  }
  auto gateway = net::parse_address(value);
  if (key != "gateway6" || !gateway || gateway->is_v4()) return fail(Errno::kInval);
  option.gateway6 = *gateway;
  return {};
}

Result<void> take_ipv4(NetworkOption& option, std::string_view text) {
  using Kind = NetworkOption::Kind;
  std::string_view network = take_until(text, ',');
  if ((network.empty() || network == "dhcp" || network == "none") && text.empty()) {
    option.kind = network == "none" ? Kind::kNone : Kind::kDhcp;
    return {};
  }
  option.kind = Kind::kStatic;
  auto parsed = parse_prefix(network, true);
  if (!parsed) return fail(Errno::kInval);
  std::tie(option.address, option.prefix_length) = *parsed;
  if (std::string_view gateway = take_until(text, ','); !gateway.empty()) {
    auto address = net::parse_address(gateway);
    if (!address || !address->is_v4()) return fail(Errno::kInval);
    option.gateway = *address;
  }
  while (!text.empty()) {
    auto server = net::parse_address(take_until(text, ','));
    if (!server) return fail(Errno::kInval);
    option.nameservers.push_back(*server);
  }
  return {};
}

}  // namespace

Result<NetworkOption> parse_network_option(std::string_view text) {
  NetworkOption option;
  // What has a name is IPv6's and comes last; what has none has a place.
  size_t named = std::min(text.find('='), text.size());
  size_t end = named == text.size() ? named : text.rfind(',', named);
  std::string_view rest = end >= text.size() ? std::string_view() : text.substr(end + 1);
  if (named < text.size() && end == std::string_view::npos) {
    rest = text;
    end = 0;
  }
  ARIL_TRY(take_ipv4(option, text.substr(0, end)));
  while (!rest.empty()) {
    std::string_view value = take_until(rest, ',');
    std::string_view key = take_until(value, '=');
    ARIL_TRY(take_ipv6(option, key, value));
  }
  if (option.address6.is_unspecified() && !option.gateway6.is_unspecified())
    return fail(Errno::kInval);
  return option;
}

}  // namespace aril::platform
