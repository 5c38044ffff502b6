#include <algorithm>
#include <cstring>

#include "net/ip/ip_layer.hpp"
#include "net/wire/checksum.hpp"

namespace aril::net {
namespace {

constexpr uint8_t kNeighbourHopLimit = 255;  // [RFC 4861] 6.1, 7.1: proof that no router sent it on

struct UnreachableMeaning {
  Errno error;
  bool is_fatal;
};
// [RFC 4443] 3.1, as Linux maps the codes.
constexpr UnreachableMeaning kUnreachable[] = {
    {Errno::kNetUnreach, false},  {Errno::kAcces, true},       {Errno::kHostUnreach, false},
    {Errno::kHostUnreach, false}, {Errno::kConnRefused, true}, {Errno::kAcces, true},
    {Errno::kAcces, true},
};

}  // namespace

void IpLayer::receive_icmpv6(const IpPacketInfo& info, std::span<const std::byte> bytes) {
  context_.counters.add(Counter::kIcmp6InMsgs);
  auto bad = [&](DropReason reason) {
    context_.counters.add(Counter::kIcmp6InErrors);
    context_.counters.drop(reason);
  };
  if (bytes.size() < sizeof(IcmpHeader)) return bad(DropReason::kBadIcmpv6);
  if (info.checksum == ChecksumState::kUnknown) {
    Checksum sum;
    sum.add_pseudo_header(info.source, info.destination, static_cast<uint8_t>(IpProtocol::kIcmpv6),
                          static_cast<uint32_t>(bytes.size()));
    sum.add(bytes);
    if (sum.finish() != 0) {
      context_.counters.add(Counter::kIcmp6InCsumErrors);
      return bad(DropReason::kBadIcmpv6);
    }
  }
  IcmpHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  bool is_discovery =
      header.type >= Icmpv6::kRouterSolicitation && header.type <= Icmpv6::kRedirect;
  if (is_discovery && (info.time_to_live != kNeighbourHopLimit || header.code != 0))
    return bad(DropReason::kNdpOffLink);
  switch (header.type) {
    case Icmpv6::kUnreachable:
    case Icmpv6::kPacketTooBig:
    case Icmpv6::kTimeExceeded:
    case Icmpv6::kParameterProblem:
      return receive_icmpv6_error(info, header, bytes.subspan(sizeof header));
    case Icmpv6::kEchoRequest:
      return reply_echo_ipv6(info, bytes);
    case Icmpv6::kListenerQuery:
      return receive_group_query(info, bytes);
    case Icmpv6::kListenerReport:
      if (kHasSourceFilters) receive_mld1_report(info, bytes);
      return;
    case Icmpv6::kRouterAdvertisement:
      return receive_router_advertisement(info, bytes);
    case Icmpv6::kNeighbourSolicitation:
      return receive_solicitation(info, bytes);
    case Icmpv6::kNeighbourAdvertisement:
      return receive_advertisement(info, bytes);
    case Icmpv6::kRedirect:
      context_.counters.add(Counter::kIcmp6InRedirects);
      return receive_ndp_redirect(info, bytes);
    default:
      return;  // [RFC 4443] 2.4 (b): unknown informational messages are discarded silently
  }
}

// [RFC 4443] 4.2
void IpLayer::reply_echo_ipv6(const IpPacketInfo& info, std::span<const std::byte> message) {
  if (info.source.is_unspecified()) return context_.counters.drop(DropReason::kBadIcmpv6);
  // To a group many answer, and the asker need not be who it says.
  if (info.is_broadcast && !take_error_token())
    return context_.counters.add(Counter::kIcmp6OutRateLimitHost);
  IpAddress own = info.is_broadcast ? IpAddress::v6(0, 0) : info.destination;
  uint32_t link = info.source.needs_scope() ? info.interface->index() : 0;
  auto route = this->route(info.source, own, link);
  if (!route) return;
  IcmpHeader reply;
  std::memcpy(&reply, message.data(), sizeof reply);
  reply.type = Icmpv6::kEchoReply;
  reply.code = 0;
  send_icmpv6(*route, info.source, info.interface->hop_limit(), std::as_bytes(std::span(&reply, 1)),
              message.subspan(sizeof reply));
}

void IpLayer::receive_icmpv6_error(const IpPacketInfo& info, const IcmpHeader& header,
                                   std::span<const std::byte> quoted) {
  auto view = Ipv6View::parse_quoted(quoted);
  if (!view || view->payload().size() < 8 || (view->is_fragment() && view->fragment_offset() != 0))
    return context_.counters.drop(DropReason::kBadIcmpv6);
  IpError error{.source = view->source(),
                .destination = view->destination(),
                .scope = info.interface->scope_of(view->destination()),
                .offender = info.source,
                .type = header.type,
                .code = header.code};
  if (!is_local(error.source)) return context_.counters.drop(DropReason::kIcmpErrorIrrelevant);
  if (header.type == Icmpv6::kUnreachable) {
    if (header.code >= std::size(kUnreachable)) return;
    error.error = kUnreachable[header.code].error;
    error.is_fatal = kUnreachable[header.code].is_fatal;
  } else if (header.type == Icmpv6::kPacketTooBig) {
    // [RFC 8201] 4: never below what every link carries.
    uint32_t mtu = std::clamp<uint32_t>(header.rest, kMinIpv6Mtu, 65535);
    error.error = Errno::kMsgSize;
    error.next_hop_mtu = static_cast<uint16_t>(mtu);
  } else if (header.type == Icmpv6::kParameterProblem) {
    error.error = Errno::kProto;
    error.is_fatal = true;
  }
  report_error(error, view->protocol(), view->payload());
}

void IpLayer::send_icmpv6_error(Interface& interface, uint8_t type, uint8_t code,
                                uint32_t parameter, std::span<const std::byte> packet,
                                bool answer_group) {
  Ipv6Header header;
  if (packet.size() < sizeof header) return;
  std::memcpy(&header, packet.data(), sizeof header);
  IpAddress source = header.source.get(), destination = header.destination.get();
  // [RFC 4443] 2.4 (e)
  if (source.is_unspecified() || source.is_multicast() || source.is_v4() ||
      (destination.is_multicast() && !answer_group))
    return;
  if (auto view = Ipv6View::parse_quoted(packet);
      view && view->protocol() == static_cast<uint8_t>(IpProtocol::kIcmpv6)) {
    auto body = view->payload();
    bool is_informational = !body.empty() && std::to_integer<uint8_t>(body[0]) >= 128;
    if (!is_informational || std::to_integer<uint8_t>(body[0]) == Icmpv6::kRedirect) return;
  }
  if (!take_error_token()) return context_.counters.add(Counter::kIcmp6OutRateLimitHost);
  IpAddress own = is_local(destination) ? destination : IpAddress::v6(0, 0);
  auto route = this->route(source, own, source.needs_scope() ? interface.index() : 0);
  if (!route) return;
  IcmpHeader head{.type = type, .code = code, .checksum = 0, .rest = parameter};
  size_t room = kMinIpv6Mtu - sizeof(Ipv6Header) - sizeof head;
  send_icmpv6(*route, source, interface.hop_limit(), std::as_bytes(std::span(&head, 1)),
              packet.first(std::min(packet.size(), room)));
}

void IpLayer::send_icmpv6(const Route& route, IpAddress destination, uint8_t hop_limit,
                          std::span<const std::byte> head, std::span<const std::byte> payload,
                          bool router_alert) {
  // Hop-by-hop options with a router alert for MLD [RFC 2711] 2.1, padded.
  constexpr uint8_t kAlert[] = {static_cast<uint8_t>(IpProtocol::kIcmpv6), 0, 5, 2, 0, 0, 1, 0};
  HeaderBuffer buffer;
  auto out = buffer.transport();
  size_t start = router_alert ? sizeof kAlert : 0;
  ARIL_ASSERT(start + head.size() <= out.size());
  std::memcpy(out.data(), kAlert, start);
  auto message = out.subspan(start, head.size());
  std::memcpy(message.data(), head.data(), head.size());
  Be<uint16_t> value = uint16_t{0};
  std::memcpy(message.data() + offsetof(IcmpHeader, checksum), &value, sizeof value);
  Checksum sum;
  sum.add_pseudo_header(route.source, destination, static_cast<uint8_t>(IpProtocol::kIcmpv6),
                        static_cast<uint32_t>(head.size() + payload.size()));
  sum.add(message);
  sum.add(payload);
  value = sum.finish();
  std::memcpy(message.data() + offsetof(IcmpHeader, checksum), &value, sizeof value);
  TxPiece piece{payload.data(), static_cast<uint32_t>(payload.size()), nullptr};
  TransportOutput output{.header = buffer,
                         .header_length = start + head.size(),
                         .payload = {&piece, payload.empty() ? size_t{0} : size_t{1}},
                         .payload_length = payload.size()};
  IpFields fields{.source = route.source,
                  .destination = destination,
                  .protocol = router_alert ? static_cast<IpProtocol>(Ipv6Extension::kHopByHop)
                                           : IpProtocol::kIcmpv6,
                  .time_to_live = hop_limit};
  context_.counters.add(Counter::kIcmp6OutMsgs);
  if (!send(route, fields, output)) context_.counters.add(Counter::kIcmp6OutErrors);
}

}  // namespace aril::net
