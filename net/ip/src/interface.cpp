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

AddressRole Interface::role_of_ipv4(uint32_t address) const {
  if (address == 0xffffffff) return AddressRole::kBroadcast;
  AddressRole role = AddressRole::kOther;
  for (const InterfaceAddress& own : addresses()) {
    uint32_t differing = own.address.v4_value() ^ address;
    if (differing == 0) return AddressRole::kOwn;
    uint32_t mask = own.mask();
    if ((differing & mask) != 0) continue;
    // A /31 or /32 has none [RFC 3021].
    if (own.prefix_length < 31 && (address | mask) == 0xffffffff) role = AddressRole::kBroadcast;
  }
  return role;
}

}  // namespace aril::net
