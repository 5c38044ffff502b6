#include <algorithm>
#include <bit>
#include <cstring>

#include "base/units.hpp"
#include "net/ip/ip_layer.hpp"
#include "net/wire/checksum.hpp"

namespace aril::net {
namespace {

constexpr Duration kPathMtuLifetime = Duration::seconds(600);  // [RFC 8201] 5.3

/// [RFC 4291] 2.7's numbers, for unicast too [RFC 6724] 3.1.
unsigned scope_of(IpAddress address) {
  if (address.is_multicast()) return static_cast<unsigned>(address.high() >> 48 & 0xf);
  return address.is_link_local() || address.is_loopback() ? 2 : 14;
}

/// [RFC 6724] 2.1's default table, without what is obsolete.
unsigned label_of(IpAddress address) {
  if (address.is_loopback()) return 0;
  if (address.high() >> 57 == 0xfc >> 1) return 13;
  if (address.high() >> 48 == 0x2002) return 2;
  if (address.high() >> 32 == 0x20010000) return 5;
  return 1;
}

unsigned common_prefix(IpAddress a, IpAddress b) {
  uint64_t high = a.high() ^ b.high();
  return static_cast<unsigned>(high != 0 ? std::countl_zero(high)
                                         : 64 + std::countl_zero(a.low() ^ b.low()));
}

}  // namespace

Result<Route> IpLayer::route_ipv6(IpAddress destination, IpAddress source, uint32_t interface) {
  if (source.is_unspecified()) {
    source = IpAddress::v6(0, 0);
  } else if (source.is_v4() || !is_local(source)) {
    return fail(Errno::kInval);
  }
  // Connecting to "any" means this machine, as on Linux.
  if (destination.is_unspecified()) destination = loopback_of(destination);
  if (is_local(destination))
    return Route{interfaces_[0].get(), source.is_unspecified() ? destination : source, destination};
  Interface* link = nullptr;
  IpAddress next_hop = destination, preferred = IpAddress::v6(0, 0);
  if (destination.is_multicast()) {
    link = group_interface(destination, interface);
  } else if (destination.is_link_local()) {
    if (interface == 0) return fail(Errno::kInval);
    link = this->interface(interface);
  } else if (const RouteEntry* entry = find_route(destination, interface)) {
    link = entry->interface;
    if (!entry->gateway.is_unspecified()) next_hop = entry->gateway;
    if (!entry->source.is_unspecified()) preferred = entry->source;
  }
  if (link == nullptr || (link->is_loopback() && !destination.is_multicast())) {
    context_.counters.add(Counter::kIp6OutNoRoutes);
    context_.counters.drop(DropReason::kNoRoute);
    return fail(Errno::kNetUnreach);
  }
  if (source.is_unspecified())
    source = preferred.is_unspecified() ? select_source(*link, destination) : preferred;
  if (source.is_unspecified()) return fail(Errno::kAddrNotAvail);
  return Route{link, source, next_hop, destination.is_multicast()};
}

// [RFC 6724] 5, rules 2, 3, 6 and 8 among the addresses of the link that the packet leaves by
// (rule 5). Rule 1 cannot apply: our own addresses are reached over loopback.
IpAddress IpLayer::select_source(const Interface& interface, IpAddress destination) const {
  const Ipv6InterfaceAddress* best = nullptr;
  auto is_better = [&](const Ipv6InterfaceAddress& a, const Ipv6InterfaceAddress& b) {
    unsigned scope_a = scope_of(a.address), scope_b = scope_of(b.address);
    if (scope_a != scope_b) {
      unsigned wanted = scope_of(destination);
      return scope_a < scope_b ? scope_a >= wanted : scope_b < wanted;
    }
    bool old_a = a.preferred_until <= context_.now, old_b = b.preferred_until <= context_.now;
    if (old_a != old_b) return old_b;
    bool label_a = label_of(a.address) == label_of(destination);
    bool label_b = label_of(b.address) == label_of(destination);
    if (label_a != label_b) return label_a;
    unsigned prefix_a = std::min<unsigned>(common_prefix(a.address, destination), a.prefix_length);
    unsigned prefix_b = std::min<unsigned>(common_prefix(b.address, destination), b.prefix_length);
    return prefix_a > prefix_b;
  };
  for (const Ipv6InterfaceAddress& own : interface.ipv6_addresses())
    if (best == nullptr || is_better(own, *best)) best = &own;
  return best == nullptr ? IpAddress::v6(0, 0) : best->address;
}

uint32_t IpLayer::path_mtu(const Route& route, IpAddress destination) const {
  uint32_t mtu = destination.is_v4() ? route.interface->mtu() : route.interface->ipv6_mtu();
  if (path_mtu_changes_ == 0 || route.interface->is_loopback()) return mtu;
  for (const PathMtu& entry : path_mtus_)
    if (entry.mtu != 0 && entry.destination == destination && entry.expiry > context_.now)
      mtu = std::min(mtu, entry.mtu);
  return mtu;
}

void IpLayer::note_path_mtu(IpAddress destination, uint32_t mtu) {
  ++path_mtu_changes_;
  PathMtu* place = &path_mtus_[0];
  for (PathMtu& entry : path_mtus_) {
    if (entry.mtu != 0 && entry.destination == destination) {
      place = &entry;
      break;
    }
    if (entry.expiry < place->expiry) place = &entry;
  }
  *place = {destination, mtu, context_.now + kPathMtuLifetime};
}

Result<void> IpLayer::send_ipv6(const Route& route, const IpFields& fields,
                                const TransportOutput& output) {
  context_.counters.add(Counter::kIp6OutRequests);
  size_t length = output.header_length + output.payload_length;
  size_t fragment_size = 0;
  if (output.segment_size == 0 && length + sizeof(Ipv6Header) > kMinIpv6Mtu) {
    uint32_t mtu =
        fields.tries_path ? route.interface->ipv6_mtu() : path_mtu(route, fields.destination);
    if (length + sizeof(Ipv6Header) > mtu) {
      if (fields.dont_fragment || length > 65535) {
        context_.counters.add(Counter::kIp6FragFails);
        return fail(Errno::kMsgSize);
      }
      if (!link_fragments(route, fields, output))
        return send_ipv6_fragments(route, fields, output, mtu);
      fragment_size = align_down(mtu - sizeof(Ipv6Header) - sizeof(Ipv6FragmentHeader), 8);
    }
  } else if (length > 65535) {
    return fail(Errno::kMsgSize);
  }
  Ipv6Header header =
      make_ipv6_header(fields.source, fields.destination, static_cast<uint8_t>(fields.protocol),
                       fields.time_to_live, fields.type_of_service, length);
  std::memcpy(output.header.start(sizeof header) + HeaderBuffer::kLink, &header, sizeof header);
  return send_headers(route, fields, sizeof header, output, fragment_size);
}

// [RFC 8200] 4.5
Result<void> IpLayer::send_ipv6_fragments(const Route& route, const IpFields& fields,
                                          const TransportOutput& output, uint32_t mtu) {
  auto whole = ARIL_TRY(gather(output));
  std::span<std::byte> body = whole->bytes();
  size_t step = align_down(mtu - sizeof(Ipv6Header) - sizeof(Ipv6FragmentHeader), 8);
  // [RFC 7739]: not to be guessed.
  auto identification = static_cast<uint32_t>(context_.random());
  for (size_t offset = 0; offset < body.size(); offset += step) {
    size_t length = std::min(step, body.size() - offset);
    bool more = offset + length < body.size();
    Ipv6FragmentHeader fragment{.next_header = static_cast<uint8_t>(fields.protocol),
                                .reserved = 0,
                                .offset_and_flags = static_cast<uint16_t>(
                                    offset | (more ? Ipv6FragmentHeader::kMoreFragments : 0)),
                                .identification = identification};
    HeaderBuffer buffer;
    std::memcpy(buffer.transport().data(), &fragment, sizeof fragment);
    TxPiece piece{body.data() + offset, static_cast<uint32_t>(length), nullptr};
    IpFields part = fields;
    part.protocol = static_cast<IpProtocol>(Ipv6Extension::kFragment);
    part.dont_fragment = true;
    context_.counters.add(Counter::kIp6FragCreates);
    ARIL_TRY(send_ipv6(route, part,
                       {.header = buffer,
                        .header_length = sizeof fragment,
                        .payload = {&piece, 1},
                        .payload_length = length}));
  }
  context_.counters.add(Counter::kIp6FragOKs);
  return {};
}

}  // namespace aril::net
