#include "net/ip/interface.hpp"

#include <algorithm>

#include "net/wire/ndp.hpp"

namespace aril::net {

Interface::Interface(uint32_t index, Kind kind, const InterfaceConfig& config, LinkSink* sink)
    : index_(index),
      kind_(kind),
      hardware_(config.hardware),
      mtu_(config.mtu),
      features_(config.features),
      sink_(sink) {
  name_length_ = static_cast<uint8_t>(std::min(config.name.size(), name_.size() - 1));
  std::copy_n(config.name.begin(), name_length_, name_.begin());
}

const Ipv6InterfaceAddress* Interface::find_ipv6(IpAddress address) const {
  for (const Ipv6InterfaceAddress& own : ipv6_addresses())
    if (own.address == address) return &own;
  return nullptr;
}

bool Interface::is_member(IpAddress group) const {
  constexpr IpAddress kAllSystems = IpAddress::v4(224, 0, 0, 1);
  return group == kAllNodes || group == kAllSystems || find_group(group) != nullptr;
}

bool Interface::hears(IpAddress group, IpAddress source) const {
  if (!kHasSourceFilters) return is_member(group);
  const MulticastGroup* joined = find_group(group);
  return joined != nullptr ? joined->hears(source) : is_member(group);
}

const MulticastGroup* Interface::find_group(IpAddress group) const {
  for (const MulticastGroup& joined : groups())
    if (joined.address() == group && joined.users() != 0) return &joined;
  return nullptr;
}

bool Interface::has_address(IpAddress address) const {
  if (!address.is_v4()) return find_ipv6(address) != nullptr;
  return std::ranges::any_of(addresses(), [&](const InterfaceAddress& own) {
    return own.address == address || (is_loopback() && own.contains(address));
  });
}

bool Interface::is_broadcast(IpAddress address) const {
  return address.is_limited_broadcast() ||
         std::ranges::any_of(
             addresses(), [&](const InterfaceAddress& own) { return own.is_broadcast(address); });
}

}  // namespace aril::net
