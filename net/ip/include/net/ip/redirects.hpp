#pragma once
#include <array>
#include <cstddef>

#include "base/time.hpp"
#include "net/wire/address.hpp"

namespace aril::net {

class Interface;

/// What a router says of one destination [RFC 1122] 3.2.2.2, [RFC 4861] 8.
struct Redirect {
  Interface* interface = nullptr;
  IpAddress router;  ///< who says so
  IpAddress destination;
  IpAddress next_hop;  ///< the destination itself: it is on the link
};

/// The better first hops that were accepted. Each ends after a while, when nobody answers at its
/// address, or with the route that it belongs to; the oldest makes room.
class Redirects {
 public:
  static constexpr size_t kCapacity = 64;
  static constexpr Duration kLifetime = Duration::seconds(300);  // as Linux's exceptions

  [[nodiscard]] bool empty() const { return count_ == 0; }
  /// Where packets to `destination` go that its route sends to `gateway`.
  [[nodiscard]] IpAddress find(const Interface& interface, IpAddress destination, IpAddress gateway,
                               Instant now) const;
  void add(const Redirect& redirect, IpAddress gateway, Instant now);
  /// Nobody answers there.
  void forget(const Interface& interface, IpAddress next_hop);

 private:
  struct Entry {
    const Interface* interface = nullptr;
    IpAddress destination, gateway, next_hop;
    Instant expiry;
  };
  std::array<Entry, kCapacity> entries_ = {};
  size_t count_ = 0;
};

}  // namespace aril::net
