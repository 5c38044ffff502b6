#pragma once
#include "net/wire/address.hpp"

namespace aril::net {

/// What a socket that is bound to a local address hears. "::" covers IPv4 too unless the socket is
/// for IPv6 alone [RFC 3493] 5.3.
struct Binding {
  IpAddress address;
  bool v6_only = false;

  [[nodiscard]] constexpr bool covers(IpAddress destination) const {
    if (!address.is_unspecified()) return address == destination;
    if (address.is_v4()) return destination.is_v4();
    return !v6_only || !destination.is_v4();
  }
  /// Is there a destination that both cover?
  [[nodiscard]] constexpr bool overlaps(const Binding& other) const {
    if (!other.address.is_unspecified()) return covers(other.address);
    if (!address.is_unspecified()) return other.covers(address);
    if (address.is_v4() == other.address.is_v4()) return true;
    return address.is_v4() ? !other.v6_only : !v6_only;
  }
};

}  // namespace aril::net
