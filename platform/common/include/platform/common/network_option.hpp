#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "net/wire/address.hpp"

namespace aril::platform {

/// What the option net= asks for.
struct NetworkOption {
  enum class Kind : uint8_t { kDhcp, kNone, kStatic } kind = Kind::kDhcp;
  // For kStatic.
  net::IpAddress address;
  uint8_t prefix_length = 0;
  net::IpAddress gateway;  ///< unspecified: none
  std::vector<net::IpAddress> nameservers;
  // Beside any kind but kNone: an IPv6 address; unspecified: what routers advertise alone.
  net::IpAddress address6 = net::IpAddress::v6(0, 0);
  uint8_t prefix_length6 = 0;
  net::IpAddress gateway6 = net::IpAddress::v6(0, 0);  ///< unspecified: none
};
/// dhcp, none, or ADDRESS/PREFIX[,GATEWAY[,NAMESERVER]], where a gateway may be left empty; and
/// then [,ip6=ADDRESS/PREFIX[,gateway6=ADDRESS]]. kInval.
Result<NetworkOption> parse_network_option(std::string_view text);

}  // namespace aril::platform
