#include "net/ip/change_observer.hpp"
#include "net/ip/ip_layer.hpp"

namespace aril::net {

void IpLayer::set_mtu(Interface& interface, uint32_t mtu) {
  if (interface.mtu_ == mtu) return;
  interface.mtu_ = mtu;
  for (ChangeObserver& observer : observers_) observer.link_changed(interface);
}

void IpLayer::set_carrier(Interface& interface, bool is_up) {
  if (interface.has_carrier_ == is_up) return;
  interface.has_carrier_ = is_up;
  for (ChangeObserver& observer : observers_) observer.link_changed(interface);
}

void IpLayer::changed(const Interface& interface, const InterfaceAddress& address,
                      Presence presence) {
  for (ChangeObserver& observer : observers_)
    observer.address_changed(interface, address, presence);
}

void IpLayer::changed(const Interface& interface, const Ipv6InterfaceAddress& address,
                      Presence presence) {
  for (ChangeObserver& observer : observers_)
    observer.address_changed(interface, address, presence);
}

void IpLayer::changed(const RouteEntry& route, Presence presence) {
  for (ChangeObserver& observer : observers_) observer.route_changed(route, presence);
}

void IpLayer::changed(const NeighbourView& neighbour, Presence presence) {
  for (ChangeObserver& observer : observers_) observer.neighbour_changed(neighbour, presence);
}

}  // namespace aril::net
