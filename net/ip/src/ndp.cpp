// Neighbour Discovery [RFC 4861] 7: who has an address of the link, and is it still there.
#include <cstring>

#include "net/ip/ip_layer.hpp"

namespace aril::net {

void IpLayer::send_neighbour_message(Interface& interface, uint8_t type, IpAddress source,
                                     IpAddress destination, IpAddress target, uint32_t flags,
                                     bool with_link_address) {
  struct {
    uint8_t type, code = 0;
    Be<uint16_t> checksum = uint16_t{0};
    NeighbourMessage message;
    LinkAddressOption option;
  } out;
  static_assert(sizeof out == 32);
  out.type = type;
  out.message = {flags, Ipv6Bytes::of(target)};
  out.option = {.type = type == Icmpv6::kNeighbourSolicitation ? LinkAddressOption::kSource
                                                               : LinkAddressOption::kTarget,
                .address = interface.hardware()};
  auto bytes = std::as_bytes(std::span(&out, 1));
  if (!with_link_address) bytes = bytes.first(bytes.size() - sizeof out.option);
  Route route{&interface, source, destination, destination.is_multicast()};
  send_icmpv6(route, destination, 255, bytes, {});
}

void IpLayer::solicit_neighbour(Interface& interface, IpAddress target,
                                const EthernetAddress* known) {
  IpAddress source = select_source(interface, target);
  const Ipv6InterfaceAddress* own = interface.find_ipv6(source);
  if (own == nullptr) return;
  // [RFC 4429] 3.2: an optimistic address must not get into a neighbour's cache.
  send_neighbour_message(interface, Icmpv6::kNeighbourSolicitation, source,
                         known != nullptr ? target : solicited_node(target), target, 0,
                         !own->is_optimistic);
}

// [RFC 4861] 7.1.1, 7.2.3, [RFC 4862] 5.4.3
void IpLayer::receive_solicitation(const IpPacketInfo& info, std::span<const std::byte> bytes) {
  auto asked = NeighbourInformation::parse(Icmpv6::kNeighbourSolicitation, bytes);
  if (!asked) return context_.counters.drop(DropReason::kBadNdp);
  Interface& interface = *info.interface;
  const Ipv6InterfaceAddress* own = interface.find_ipv6(asked->target);
  if (info.source.is_unspecified()) {
    if (info.destination != solicited_node(asked->target) || asked->link_address)
      return context_.counters.drop(DropReason::kBadNdp);
    if (own == nullptr) return;
    // Somebody is about to take it: while we are too, neither has it; else it is ours.
    if (own->is_optimistic) return duplicate_found(interface, asked->target);
    return send_neighbour_message(interface, Icmpv6::kNeighbourAdvertisement, asked->target,
                                  kAllNodes, asked->target, NeighbourMessage::kOverride, true);
  }
  if (own == nullptr) return;
  if (asked->link_address) neighbours_.heard_of(interface, info.source, *asked->link_address);
  uint32_t flags = NeighbourMessage::kSolicited;
  if (!own->is_optimistic) flags |= NeighbourMessage::kOverride;
  send_neighbour_message(interface, Icmpv6::kNeighbourAdvertisement, asked->target, info.source,
                         asked->target, flags, true);
}

// [RFC 4861] 7.1.2, 7.2.5
void IpLayer::receive_advertisement(const IpPacketInfo& info, std::span<const std::byte> bytes) {
  auto told = NeighbourInformation::parse(Icmpv6::kNeighbourAdvertisement, bytes);
  bool is_solicited = told && (told->flags & NeighbourMessage::kSolicited) != 0;
  if (!told || info.source.is_unspecified() || (is_solicited && info.is_broadcast))
    return context_.counters.drop(DropReason::kBadNdp);
  Interface& interface = *info.interface;
  if (const Ipv6InterfaceAddress* own = interface.find_ipv6(told->target)) {
    if (own->is_optimistic) return duplicate_found(interface, told->target);
    return context_.counters.drop(DropReason::kDuplicateAddress);
  }
  neighbours_.advertised(interface, told->target,
                         told->link_address ? &*told->link_address : nullptr, is_solicited,
                         (told->flags & NeighbourMessage::kOverride) != 0);
}

// [RFC 4862] 5.4.5
void IpLayer::duplicate_found(Interface& interface, IpAddress address) {
  context_.counters.drop(DropReason::kDuplicateAddress);
  remove_address(interface, address);
  tell(interface, Ipv6Event::kDuplicate, address);
}

}  // namespace aril::net
