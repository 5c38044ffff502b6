#include <cstring>

#include "net/ip/ip_layer.hpp"
#include "net/wire/checksum.hpp"

/// Passing on what is for others [RFC 1812] 5, [RFC 8200] 3. Without redirects, options that
/// routers act on, and fragmenting: what is too long for the next link is refused, with its size.
namespace aril::net {

const RouteEntry* IpLayer::route_to_forward(const Interface& interface, IpAddress source,
                                            IpAddress destination) const {
  // [RFC 1812] 5.3.7, [RFC 4291] 2.5.6: these stay on their link.
  bool stays = source.is_unspecified() || source.needs_scope() || destination.needs_scope() ||
               source.is_loopback() || destination.is_loopback() || destination.is_multicast() ||
               destination.is_unspecified() || interface.is_loopback();
  if (stays) return nullptr;
  return find_route(destination, 0);
}

void IpLayer::forward_ipv4(Interface& interface, const Ipv4View& view) {
  const RouteEntry* entry = route_to_forward(interface, view.source(), view.destination());
  if (entry == nullptr || entry->interface->is_loopback() ||
      entry->interface->is_broadcast(view.destination())) {
    context_.counters.add(Counter::kIpInAddrErrors);
    context_.counters.drop(DropReason::kNotForwarded);
    if (entry == nullptr)
      send_icmp_error(IcmpHeader::kUnreachable, IcmpHeader::kNetUnreachable, view.packet());
    return;
  }
  if (view.time_to_live() <= 1) {
    context_.counters.add(Counter::kIpInHdrErrors);
    context_.counters.drop(DropReason::kHopsExceeded);
    return send_icmp_error(IcmpHeader::kTimeExceeded, 0, view.packet());
  }
  auto packet = view.packet();
  if (packet.size() > entry->interface->mtu()) {
    context_.counters.add(Counter::kIpFragFails);
    return send_icmp_error(IcmpHeader::kUnreachable, IcmpHeader::kFragmentationNeeded, packet,
                           entry->interface->mtu());
  }
  auto copy = Packet::copy_of(packet);
  if (!copy) return context_.counters.drop(DropReason::kNoMemory);
  std::span<std::byte> bytes = (*copy)->bytes();
  Ipv4Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  --header.time_to_live;
  header.checksum = 0;
  std::memcpy(bytes.data(), &header, sizeof header);
  Checksum sum;
  sum.add(bytes.first(view.header_length()));
  header.checksum = sum.finish();
  std::memcpy(bytes.data(), &header, sizeof header);
  context_.counters.add(Counter::kIpForwDatagrams);
  IpAddress next = entry->gateway.is_unspecified() ? view.destination() : entry->gateway;
  (void)send_packet({entry->interface, entry->source, next, false}, bytes, view.header_length());
}

void IpLayer::forward_ipv6(Interface& interface, const Ipv6View& view) {
  const RouteEntry* entry = route_to_forward(interface, view.source(), view.destination());
  auto packet = view.packet();
  if (entry == nullptr || entry->interface->is_loopback()) {
    context_.counters.add(Counter::kIp6InAddrErrors);
    context_.counters.drop(DropReason::kNotForwarded);
    if (entry == nullptr) send_icmpv6_error(interface, Icmpv6::kUnreachable, 0, 0, packet);
    return;
  }
  if (view.hop_limit() <= 1) {
    context_.counters.add(Counter::kIp6InHdrErrors);
    context_.counters.drop(DropReason::kHopsExceeded);
    return send_icmpv6_error(interface, Icmpv6::kTimeExceeded, 0, 0, packet);
  }
  if (packet.size() > entry->interface->ipv6_mtu()) {
    context_.counters.add(Counter::kIp6FragFails);
    return send_icmpv6_error(interface, Icmpv6::kPacketTooBig, 0, entry->interface->ipv6_mtu(),
                             packet);
  }
  auto copy = Packet::copy_of(packet);
  if (!copy) return context_.counters.drop(DropReason::kNoMemory);
  std::span<std::byte> bytes = (*copy)->bytes();
  Ipv6Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  --header.hop_limit;
  std::memcpy(bytes.data(), &header, sizeof header);
  context_.counters.add(Counter::kIp6OutForwDatagrams);
  IpAddress next = entry->gateway.is_unspecified() ? view.destination() : entry->gateway;
  (void)send_packet({entry->interface, entry->source, next, false}, bytes, sizeof header);
}

}  // namespace aril::net
