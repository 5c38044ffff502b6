#pragma once
#include <cstdint>

#include "base/intrusive_list.hpp"
#include "net/ip/neighbours.hpp"

namespace aril::net {

struct InterfaceAddress;
struct Ipv6InterfaceAddress;
struct RouteEntry;

/// Who asked for a change [netlink(7)]; nobody, when it happened by itself.
struct ChangeOrigin {
  uint32_t sequence = 0, port = 0;
};

/// Is told what changes in the configuration of the network, under the stack's lock. It must not
/// change anything itself.
class ChangeObserver {
 public:
  virtual void link_changed(const Interface& interface) = 0;
  virtual void address_changed(const Interface& interface, const InterfaceAddress& address,
                               Presence presence) = 0;
  virtual void address_changed(const Interface& interface, const Ipv6InterfaceAddress& address,
                               Presence presence) = 0;
  virtual void route_changed(const RouteEntry& route, Presence presence) = 0;
  virtual void neighbour_changed(const Neighbours::View& neighbour, Presence presence) = 0;

 protected:
  ~ChangeObserver() = default;

 private:
  friend class IpLayer;
  ListNode observer_node_;
};

}  // namespace aril::net
