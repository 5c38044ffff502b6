#include <algorithm>
#include <cstring>

#include "base/units.hpp"
#include "net/ip/ip_layer.hpp"
#include "net/wire/checksum.hpp"

namespace aril::net {
namespace {

/// Tiny kernels cut long datagrams themselves.
#ifdef ARIL_TINY
constexpr bool kHasFragmentOffload = false;
#else
constexpr bool kHasFragmentOffload = true;
#endif

// [RFC 1112] 6.4
EthernetAddress group_hardware(IpAddress address) {
  if (!address.is_multicast()) return kEthernetBroadcast;
  uint32_t value = address.v4_value();
  return {0x01,
          0x00,
          0x5e,
          static_cast<uint8_t>(value >> 16 & 0x7f),
          static_cast<uint8_t>(value >> 8),
          static_cast<uint8_t>(value)};
}

}  // namespace

Result<void> IpLayer::send(const Route& route, const IpFields& wanted,
                           const TransportOutput& output) {
  if (!wanted.destination.is_v4()) return send_ipv6(route, wanted, output);
  Ipv4Fields fields{.source = wanted.source,
                    .destination = wanted.destination,
                    .protocol = wanted.protocol,
                    .time_to_live = wanted.time_to_live,
                    .type_of_service = wanted.type_of_service,
                    .fragment = wanted.dont_fragment ? Ipv4Header::kDontFragment : uint16_t{0}};
  context_.counters.add(Counter::kIpOutRequests);
  size_t length = output.header_length + output.payload_length;
  size_t limit = output.segment_size != 0 ? 65535
                 : wanted.dont_fragment   ? route.interface->mtu()
                                          : path_mtu(route, wanted.destination);
  size_t fragment_size = 0;
  if (length + sizeof(Ipv4Header) > limit) {
    if ((fields.fragment & Ipv4Header::kDontFragment) != 0 || length + sizeof(Ipv4Header) > 65535) {
      context_.counters.add(Counter::kIpFragFails);
      return fail(Errno::kMsgSize);
    }
    if (!link_fragments(route, wanted, output)) return send_fragments(route, fields, output);
    fragment_size = align_down(limit - sizeof(Ipv4Header), 8);
  }
  // [RFC 6864] 4.1: the identification of a packet that is never fragmented has no meaning.
  if ((fields.fragment & Ipv4Header::kDontFragment) == 0)
    fields.identification = next_identification(fields.destination);
  Ipv4Header header = make_ipv4_header(fields, length);
  std::memcpy(output.header.start(sizeof header) + HeaderBuffer::kLink, &header, sizeof header);
  return send_headers(route, wanted, sizeof header, output, fragment_size);
}

// UDP alone: of other protocols the link knows no header. What has to wait for its neighbour's
// address waits in fragments.
bool IpLayer::link_fragments(const Route& route, const IpFields& fields,
                             const TransportOutput& output) {
  Interface& interface = *route.interface;
  if (!kHasFragmentOffload || !has(interface.features(), LinkFeatures::kUfo) ||
      fields.protocol != IpProtocol::kUdp || output.checksum_offset == 0)
    return false;
  return route.is_broadcast ||
         neighbours_.resolve(interface, next_hop(route, fields.destination)) != nullptr;
}

Result<void> IpLayer::send_headers(const Route& route, const IpFields& fields,
                                   size_t network_length, const TransportOutput& output,
                                   size_t fragment_size) {
  std::byte* link = output.header.start(network_length);
  std::span<const std::byte> headers(link,
                                     HeaderBuffer::kLink + network_length + output.header_length);
  Interface& interface = *route.interface;
  if (interface.is_loopback()) return send_loopback(headers, output, interface);
  if (fields.destination.is_multicast()) {
    // [RFC 1112] 7.2: members here are not reached by way of the link.
    if (fields.multicast_loop && interface.is_member(fields.destination))
      (void)send_loopback(headers, output, interface);
    if (fields.time_to_live == 0) return {};
  }
  TxPacket packet{.header = headers, .payload = output.payload};
  if (output.checksum_offset != 0) {
    packet.checksum_start = static_cast<uint16_t>(HeaderBuffer::kLink + network_length);
    packet.checksum_offset = output.checksum_offset;
  }
  packet.segment_size =
      fragment_size != 0 ? static_cast<uint16_t>(fragment_size) : output.segment_size;
  packet.is_datagram = fragment_size != 0;
  packet.is_ipv6 = !fields.destination.is_v4();
  send_to_link(route, next_hop(route, fields.destination), link, packet);
  return {};
}

Result<void> IpLayer::send_packet(const Route& route, std::span<const std::byte> packet,
                                  size_t header_length) {
  constexpr size_t kMaxHeader = 60;
  ARIL_ASSERT(header_length <= std::min(kMaxHeader, packet.size()));
  std::byte headers[HeaderBuffer::kLink + kMaxHeader];
  std::memcpy(headers + HeaderBuffer::kLink, packet.data(), header_length);
  auto rest = packet.subspan(header_length);
  TxPiece piece{rest.data(), static_cast<uint32_t>(rest.size()), nullptr};
  std::span<const std::byte> head(headers, HeaderBuffer::kLink + header_length);
  std::span<const TxPiece> payload(&piece, rest.empty() ? 0 : 1);
  if (route.interface->is_loopback()) {
    HeaderBuffer unused;
    return send_loopback(head,
                         {.header = unused, .payload = payload, .payload_length = rest.size()},
                         *route.interface);
  }
  bool is_ipv6 = std::to_integer<uint8_t>(packet[0]) >> 4 == 6;
  send_to_link(route, route.next_hop, headers,
               {.header = head, .payload = payload, .is_ipv6 = is_ipv6});
  return {};
}

Result<void> IpLayer::send_frame(Interface& interface, std::span<const std::byte> frame) {
  if (frame.size() < sizeof(EthernetHeader)) return fail(Errno::kInval);
  if (frame.size() > sizeof(EthernetHeader) + interface.mtu()) return fail(Errno::kMsgSize);
  if (!interface.is_loopback()) {
    auto rest = frame.subspan(sizeof(EthernetHeader));
    TxPiece piece{rest.data(), static_cast<uint32_t>(rest.size()), nullptr};
    transmit(interface, {.header = frame.first(sizeof(EthernetHeader)),
                         .payload = {&piece, rest.empty() ? size_t{0} : size_t{1}}});
    return {};
  }
  if (frame.size() == sizeof(EthernetHeader)) return fail(Errno::kInval);
  HeaderBuffer unused;
  EthernetHeader header;
  std::memcpy(&header, frame.data(), sizeof header);
  return send_loopback(frame, {.header = unused}, interface, header);
}

void IpLayer::send_to_link(const Route& route, IpAddress next_hop, std::byte* link_header,
                           const TxPacket& packet) {
  Interface& interface = *route.interface;
  bool is_v4 = next_hop.is_v4();
  EthernetHeader header{.source = interface.hardware(),
                        .type = is_v4 ? kEtherTypeIpv4 : kEtherTypeIpv6};
  if (route.is_broadcast) {
    header.destination = is_v4 ? group_hardware(next_hop) : group_ethernet(next_hop);
  } else if (const EthernetAddress* known = neighbours_.resolve(interface, next_hop)) {
    header.destination = *known;
  } else {
    // Kept as one IP packet, its checksum complete: it leaves later, without the link's help.
    auto held = Packet::allocate(packet.size() - HeaderBuffer::kLink);
    if (!held || packet.segment_size != 0) return context_.counters.drop(DropReason::kNoMemory);
    std::byte* out = (*held)->bytes().data();
    auto ip = packet.header.subspan(HeaderBuffer::kLink);
    std::memcpy(out, ip.data(), ip.size());
    size_t at = ip.size();
    for (const TxPiece& piece : packet.payload) {
      std::memcpy(out + at, piece.data, piece.length);
      at += piece.length;
    }
    if (packet.checksum_start != 0) {
      auto body = (*held)->bytes().subspan(packet.checksum_start - HeaderBuffer::kLink);
      Checksum sum;
      sum.add(body);
      Be<uint16_t> value = sum.finish();
      std::memcpy(body.data() + packet.checksum_offset, &value, sizeof value);
    }
    return neighbours_.enqueue(interface, next_hop, std::move(*held));
  }
  std::memcpy(link_header, &header, sizeof header);
  transmit(interface, packet);
}

void IpLayer::transmit(Interface& interface, const TxPacket& packet) {
  if (tap_ != nullptr) tap_->frame(interface, FrameDirection::kOutgoing, packet);
  ++interface.statistics_.sent_frames;
  interface.statistics_.sent_bytes += packet.size();
  interface.sink_->transmit(packet);
}

Result<void> IpLayer::send_loopback(std::span<const std::byte> header,
                                    const TransportOutput& output, Interface& interface,
                                    std::optional<EthernetHeader> frame) {
  auto full = [&] {
    context_.counters.drop(DropReason::kLoopbackFull);
    return fail(Errno::kNoBufs);
  };
  if (loopback_.size() >= kMaxLoopback) return full();
  auto ip = header.subspan(HeaderBuffer::kLink);
  auto packet = Packet::allocate(ip.size() + output.payload_length);
  if (!packet) return full();
  std::byte* out = (*packet)->bytes().data();
  std::memcpy(out, ip.data(), ip.size());
  size_t at = ip.size();
  for (const TxPiece& piece : output.payload) {
    std::memcpy(out + at, piece.data, piece.length);
    at += piece.length;
  }
  if (!loopback_.push_back({std::move(*packet), &interface, frame})) return full();
  return {};
}

Result<PacketPtr> IpLayer::gather(const TransportOutput& output) {
  auto whole = ARIL_TRY(Packet::allocate(output.header_length + output.payload_length));
  std::span<std::byte> body = whole->bytes();
  std::memcpy(body.data(), output.header.transport().data(), output.header_length);
  size_t at = output.header_length;
  for (const TxPiece& piece : output.payload) {
    std::memcpy(body.data() + at, piece.data, piece.length);
    at += piece.length;
  }
  if (output.checksum_offset != 0) {
    Checksum sum;
    sum.add(body);
    Be<uint16_t> value = sum.finish();
    std::memcpy(body.data() + output.checksum_offset, &value, sizeof value);
  }
  return whole;
}

// [RFC 791] 3.2. The datagram is put together first: fragments cut across its pieces.
Result<void> IpLayer::send_fragments(const Route& route, const Ipv4Fields& fields,
                                     const TransportOutput& output) {
  auto whole = ARIL_TRY(gather(output));
  std::span<std::byte> body = whole->bytes();
  size_t total = body.size();
  size_t step = align_down(path_mtu(route, fields.destination) - sizeof(Ipv4Header), 8);
  Ipv4Fields part = fields;
  part.identification = next_identification(fields.destination);
  for (size_t offset = 0; offset < total; offset += step) {
    size_t length = std::min(step, total - offset);
    part.fragment = static_cast<uint16_t>(offset / 8);
    if (offset + length < total) part.fragment |= Ipv4Header::kMoreFragments;
    std::byte headers[HeaderBuffer::kLink + sizeof(Ipv4Header)];
    Ipv4Header header = make_ipv4_header(part, length);
    std::memcpy(headers + HeaderBuffer::kLink, &header, sizeof header);
    TxPiece piece{body.data() + offset, static_cast<uint32_t>(length), nullptr};
    context_.counters.add(Counter::kIpFragCreates);
    if (route.interface->is_loopback()) {
      HeaderBuffer unused;
      ARIL_TRY(send_loopback(headers,
                             {.header = unused, .payload = {&piece, 1}, .payload_length = length},
                             *route.interface));
    } else {
      send_to_link(route, next_hop(route, fields.destination), headers,
                   {.header = headers, .payload = {&piece, 1}});
    }
  }
  context_.counters.add(Counter::kIpFragOKs);
  return {};
}

uint16_t IpLayer::next_identification(IpAddress destination) {
  uint64_t hash = siphash(context_.key, {0x6964, destination.high(), destination.low()});
  return identifications_[hash % identifications_.size()]++;
}

void IpLayer::send_arp(Interface& interface, const ArpPacket& packet,
                       const EthernetAddress& destination) {
  std::byte frame[sizeof(EthernetHeader) + sizeof(ArpPacket)];
  EthernetHeader header{destination, interface.hardware(), kEtherTypeArp};
  std::memcpy(frame, &header, sizeof header);
  std::memcpy(frame + sizeof header, &packet, sizeof packet);
  transmit(interface, {.header = frame, .payload = {}});
}

void IpLayer::send_resolved(Interface& interface, const EthernetAddress& destination,
                            std::span<const std::byte> packet) {
  bool is_v4 = std::to_integer<uint8_t>(packet[0]) >> 4 == 4;
  EthernetHeader header{destination, interface.hardware(), is_v4 ? kEtherTypeIpv4 : kEtherTypeIpv6};
  TxPiece piece{packet.data(), static_cast<uint32_t>(packet.size()), nullptr};
  transmit(interface, {.header = std::as_bytes(std::span(&header, 1)), .payload = {&piece, 1}});
}

void IpLayer::solicit(Interface& interface, IpAddress target, const EthernetAddress* known) {
  if (!target.is_v4()) return solicit_neighbour(interface, target, known);
  IpAddress source;
  for (const InterfaceAddress& own : interface.addresses())
    if (source.is_unspecified() || own.contains(target)) source = own.address;
  send_arp(interface,
           ArpPacket::make(ArpPacket::kRequest, interface.hardware(), source.v4_value(), {},
                           target.v4_value()),
           known != nullptr ? *known : kEthernetBroadcast);
}

void IpLayer::unresolved(Interface& interface, std::span<const std::byte> packet) {
  if (auto view = Ipv4View::parse_quoted(packet)) {
    report_error({.source = view->source(),
                  .destination = view->destination(),
                  .error = Errno::kHostUnreach},
                 view->protocol(), view->payload());
  } else if (auto six = Ipv6View::parse_quoted(packet)) {
    report_error({.source = six->source(),
                  .destination = six->destination(),
                  .error = Errno::kHostUnreach,
                  .scope = interface.scope_of(six->destination())},
                 six->protocol(), six->payload());
  }
}

}  // namespace aril::net
