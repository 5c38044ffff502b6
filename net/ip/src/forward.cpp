#include <cstddef>
#include <cstring>

#include "base/image_use.hpp"
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

ARIL_ONLY_FOR(forwarding)
void IpLayer::forward_ipv4(Interface& interface, const Ipv4View& view, ChecksumState checksum) {
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
  auto copy = Packet::copy_of(view.packet());
  if (!copy) return context_.counters.drop(DropReason::kNoMemory);
  Passing passing{.packet = (*copy)->bytes(),
                  .network = view.header_length(),
                  .source = view.source(),
                  .destination = view.destination(),
                  .protocol = view.protocol(),
                  .is_whole = !view.is_fragment()};
  if (passing.packet.size() > entry->interface->mtu() &&
      cuttable_header(passing, *entry->interface) == 0) {
    context_.counters.add(Counter::kIpFragFails);
    return send_icmp_error(IcmpHeader::kUnreachable, IcmpHeader::kFragmentationNeeded,
                           view.packet(), entry->interface->mtu());
  }
  Ipv4Header header;
  std::memcpy(&header, passing.packet.data(), sizeof header);
  --header.time_to_live;
  header.checksum = 0;
  std::memcpy(passing.packet.data(), &header, sizeof header);
  Checksum sum;
  sum.add(passing.packet.first(passing.network));
  header.checksum = sum.finish();
  std::memcpy(passing.packet.data(), &header, sizeof header);
  context_.counters.add(Counter::kIpForwDatagrams);
  pass_on(*entry, passing, checksum);
}

ARIL_ONLY_FOR(forwarding)
void IpLayer::forward_ipv6(Interface& interface, const Ipv6View& view, ChecksumState checksum) {
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
  auto copy = Packet::copy_of(packet);
  if (!copy) return context_.counters.drop(DropReason::kNoMemory);
  bool is_plain = view.payload().size() + sizeof(Ipv6Header) == packet.size();
  Passing passing{.packet = (*copy)->bytes(),
                  .network = sizeof(Ipv6Header),
                  .source = view.source(),
                  .destination = view.destination(),
                  .protocol = view.protocol(),
                  .is_whole = is_plain};
  if (packet.size() > entry->interface->ipv6_mtu() &&
      cuttable_header(passing, *entry->interface) == 0) {
    context_.counters.add(Counter::kIp6FragFails);
    return send_icmpv6_error(interface, Icmpv6::kPacketTooBig, 0, entry->interface->ipv6_mtu(),
                             packet);
  }
  Ipv6Header header;
  std::memcpy(&header, passing.packet.data(), sizeof header);
  --header.hop_limit;
  std::memcpy(passing.packet.data(), &header, sizeof header);
  context_.counters.add(Counter::kIp6OutForwDatagrams);
  pass_on(*entry, passing, checksum);
}

// What the sending device joined, the next one may cut again.
size_t IpLayer::cuttable_header(const Passing& passing, const Interface& out) {
  constexpr auto kWanted = LinkFeatures::kChecksum;
  LinkFeatures cuts = passing.destination.is_v4() ? LinkFeatures::kTso : LinkFeatures::kTso6;
  if (!passing.is_whole || passing.protocol != static_cast<uint8_t>(IpProtocol::kTcp)) return 0;
  if (!has(out.features(), kWanted) || !has(out.features(), cuts)) return 0;
  auto transport = passing.packet.subspan(passing.network);
  TcpHeader header;
  if (transport.size() < sizeof header) return 0;
  std::memcpy(&header, transport.data(), sizeof header);
  size_t length = (header.data_offset >> 4) * size_t{4};
  return length >= sizeof header && length < transport.size() ? length : 0;
}

// A device that vouched for the checksum may have left it to be completed: then it is made anew.
void IpLayer::pass_on(const RouteEntry& entry, const Passing& passing, ChecksumState checksum) {
  Interface& out = *entry.interface;
  IpAddress next = entry.gateway.is_unspecified() ? passing.destination : entry.gateway;
  Route route{&out, entry.source, next, false};
  bool is_tcp = passing.protocol == static_cast<uint8_t>(IpProtocol::kTcp);
  bool is_udp = passing.protocol == static_cast<uint8_t>(IpProtocol::kUdp);
  size_t at = is_tcp ? offsetof(TcpHeader, checksum) : offsetof(UdpHeader, checksum);
  auto transport = passing.packet.subspan(passing.network);
  bool is_too_long = passing.packet.size() > out.mtu();
  bool renews = checksum == ChecksumState::kVerified && passing.is_whole && (is_tcp || is_udp) &&
                transport.size() >= at + sizeof(uint16_t);
  if (!renews && !is_too_long) {
    (void)send_packet(route, passing.packet, passing.network);
    return;
  }
  Checksum sum;
  sum.add_pseudo_header(passing.source, passing.destination, passing.protocol,
                        static_cast<uint32_t>(transport.size()));
  Be<uint16_t> value = is_too_long ? sum.partial() : uint16_t{0};
  std::memcpy(transport.data() + at, &value, sizeof value);
  if (!is_too_long) {
    sum.add(transport);
    uint16_t whole = sum.finish();
    value = is_udp && whole == 0 ? uint16_t{0xffff} : whole;
    std::memcpy(transport.data() + at, &value, sizeof value);
    (void)send_packet(route, passing.packet, passing.network);
    return;
  }
  size_t heads = passing.network + cuttable_header(passing, out);
  std::byte frame[HeaderBuffer::kLink + 60 + kMaxTcpHeader];
  std::memcpy(frame + HeaderBuffer::kLink, passing.packet.data(), heads);
  auto rest = passing.packet.subspan(heads);
  TxPiece piece{rest.data(), static_cast<uint32_t>(rest.size()), nullptr};
  send_to_link(route, route.next_hop, frame,
               {.header = std::span(frame).first(HeaderBuffer::kLink + heads),
                .payload = {&piece, 1},
                .checksum_start = static_cast<uint16_t>(HeaderBuffer::kLink + passing.network),
                .checksum_offset = static_cast<uint16_t>(at),
                .segment_size = static_cast<uint16_t>(out.mtu() - heads),
                .is_ipv6 = !passing.destination.is_v4()});
}

}  // namespace aril::net
