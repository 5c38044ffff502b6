#include <algorithm>
#include <cstring>

#include "net/ip/ip_layer.hpp"
#include "net/wire/checksum.hpp"

namespace aril::net {
namespace {

constexpr uint32_t kErrorBurst = 50;
constexpr Duration kErrorTokenTime = Duration::milliseconds(1);

// [RFC 1122] 3.2.2.1, 4.2.3.9: which unreachable codes end a connection attempt or a connection.
struct UnreachableMeaning {
  Errno error;
  bool is_fatal;
};
constexpr UnreachableMeaning kUnreachable[] = {
    {Errno::kNetUnreach, false},  {Errno::kHostUnreach, false}, {Errno::kNoProtoOpt, true},
    {Errno::kConnRefused, true},  {Errno::kMsgSize, false},     {Errno::kOpNotSupp, false},
    {Errno::kNetUnreach, true},   {Errno::kHostDown, true},     {Errno::kNetUnreach, true},
    {Errno::kNetUnreach, true},   {Errno::kHostUnreach, true},  {Errno::kNetUnreach, false},
    {Errno::kHostUnreach, false}, {Errno::kHostUnreach, true},  {Errno::kHostUnreach, true},
    {Errno::kHostUnreach, true},
};

}  // namespace

void IpLayer::receive_icmp(const IpPacketInfo& info, std::span<const std::byte> bytes) {
  context_.counters.add(Counter::kIcmpInMsgs);
  auto bad = [&](DropReason reason) {
    context_.counters.add(Counter::kIcmpInErrors);
    context_.counters.drop(reason);
  };
  if (bytes.size() < sizeof(IcmpHeader)) return bad(DropReason::kBadIcmp);
  if (!info.interface->is_loopback()) {
    Checksum sum;
    sum.add(bytes);
    if (sum.finish() != 0) {
      context_.counters.add(Counter::kIcmpInCsumErrors);
      return bad(DropReason::kBadIcmp);
    }
  }
  IcmpHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  switch (header.type) {
    case IcmpHeader::kEchoRequest:
      context_.counters.add(Counter::kIcmpInEchos);
      // [RFC 1122] 3.2.2.6 permits silence; an answer would amplify.
      if (info.is_broadcast) return context_.counters.drop(DropReason::kIcmpToBroadcast);
      return reply_echo(info, bytes);
    case IcmpHeader::kEchoReply:
      return context_.counters.add(Counter::kIcmpInEchoReps);
    case IcmpHeader::kUnreachable:
      context_.counters.add(Counter::kIcmpInDestUnreachs);
      return receive_icmp_error(info, header, bytes.subspan(sizeof header));
    case IcmpHeader::kRedirect:
      context_.counters.add(Counter::kIcmpInRedirects);
      return receive_icmp_redirect(info, header, bytes.subspan(sizeof header));
    case IcmpHeader::kTimeExceeded:
      context_.counters.add(Counter::kIcmpInTimeExcds);
      return receive_icmp_error(info, header, bytes.subspan(sizeof header));
    case IcmpHeader::kParameterProblem:
      context_.counters.add(Counter::kIcmpInParmProbs);
      return receive_icmp_error(info, header, bytes.subspan(sizeof header));
    default:
      return;  // [RFC 1122] 3.2.2: unknown types are discarded silently
  }
}

void IpLayer::reply_echo(const IpPacketInfo& info, std::span<const std::byte> message) {
  auto route = this->route(info.source, info.destination);
  if (!route) return;
  HeaderBuffer buffer;
  IcmpHeader reply;
  std::memcpy(&reply, message.data(), sizeof reply);
  auto payload = message.subspan(sizeof reply);
  reply.type = IcmpHeader::kEchoReply;
  reply.code = 0;
  reply.checksum = 0;
  Checksum sum;
  sum.add(std::as_bytes(std::span(&reply, 1)));
  sum.add(payload);
  reply.checksum = sum.finish();
  std::memcpy(buffer.transport().data(), &reply, sizeof reply);
  TxPiece piece{payload.data(), static_cast<uint32_t>(payload.size()), nullptr};
  TransportOutput output{.header = buffer,
                         .header_length = sizeof reply,
                         .payload = {&piece, payload.empty() ? size_t{0} : size_t{1}},
                         .payload_length = payload.size()};
  IpFields fields{.source = info.destination,
                  .destination = info.source,
                  .protocol = IpProtocol::kIcmp,
                  .type_of_service = info.type_of_service};
  context_.counters.add(Counter::kIcmpOutMsgs);
  context_.counters.add(Counter::kIcmpOutEchoReps);
  if (!send(*route, fields, output)) context_.counters.add(Counter::kIcmpOutErrors);
}

void IpLayer::receive_icmp_error(const IpPacketInfo& info, const IcmpHeader& header,
                                 std::span<const std::byte> quoted) {
  auto view = Ipv4View::parse_quoted(quoted);
  // [RFC 1122] 3.2.2: at least eight bytes of the transport header are quoted.
  if (!view || view->payload().size() < 8 || view->fragment_offset() != 0)
    return context_.counters.drop(DropReason::kBadIcmp);
  IpError error{.source = view->source(),
                .destination = view->destination(),
                .offender = info.source,
                .type = header.type,
                .code = header.code};
  if (!is_local(error.source)) return context_.counters.drop(DropReason::kIcmpErrorIrrelevant);
  if (header.type == IcmpHeader::kUnreachable) {
    if (header.code >= std::size(kUnreachable)) return;
    error.error = kUnreachable[header.code].error;
    error.is_fatal = kUnreachable[header.code].is_fatal;
    if (header.code == IcmpHeader::kFragmentationNeeded)
      // [RFC 1191] 4; a router that does not say is taken to mean the minimum that all carry.
      error.next_hop_mtu = std::max<uint16_t>(static_cast<uint16_t>(header.rest), 576);
  } else if (header.type == IcmpHeader::kParameterProblem) {
    error.error = Errno::kProto;
    error.is_fatal = true;
  }
  report_error(error, view->protocol(), view->payload());
}

void IpLayer::report_error(const IpError& error, uint8_t protocol,
                           std::span<const std::byte> quoted) {
  if (quoted.size() < 8) return;
  switch (static_cast<IpProtocol>(protocol)) {
    case IpProtocol::kTcp:
      return tcp_->receive_error(error, quoted);
    case IpProtocol::kUdp:
      return udp_->receive_error(error, quoted);
    default:
      if (raw_ != nullptr) raw_->receive_error(error, protocol, quoted);
  }
}

bool IpLayer::take_error_token() {
  int64_t earned = (context_.now - error_tokens_filled_).ns / kErrorTokenTime.ns;
  if (earned > 0) {
    error_tokens_ = static_cast<uint32_t>(std::min<int64_t>(kErrorBurst, error_tokens_ + earned));
    error_tokens_filled_ = context_.now;
  }
  if (error_tokens_ == 0) return false;
  --error_tokens_;
  return true;
}

void IpLayer::send_port_unreachable(const IpPacketInfo& info) {
  if (info.destination.is_v4())
    return send_icmp_error(IcmpHeader::kUnreachable, IcmpHeader::kPortUnreachable, info.packet);
  send_icmpv6_error(*info.interface, Icmpv6::kUnreachable, Icmpv6::kPortUnreachable, 0,
                    info.packet);
}

void IpLayer::send_icmp_error(uint8_t type, uint8_t code, std::span<const std::byte> packet,
                              uint32_t parameter) {
  auto view = Ipv4View::parse_quoted(packet);
  if (!view || view->fragment_offset() != 0 || view->source().is_unspecified() ||
      view->destination().is_multicast() || view->destination().is_limited_broadcast())
    return;
  // [RFC 1122] 3.2.2: never about an ICMP error.
  if (view->protocol() == static_cast<uint8_t>(IpProtocol::kIcmp)) {
    auto body = view->payload();
    if (body.empty() || static_cast<uint8_t>(body[0]) != IcmpHeader::kEchoRequest) return;
  }
  if (!take_error_token()) return context_.counters.add(Counter::kIcmpOutRateLimitGlobal);

  IpAddress source = is_local(view->destination()) ? view->destination() : IpAddress();
  auto route = this->route(view->source(), source);
  if (!route) return;
  // [RFC 1812] 4.3.2.3: as much of the packet as fits 576 bytes.
  auto quoted = packet.first(std::min<size_t>(packet.size(), 576 - 20 - sizeof(IcmpHeader)));
  HeaderBuffer buffer;
  IcmpHeader header{.type = type, .code = code, .rest = parameter};
  Checksum sum;
  sum.add(std::as_bytes(std::span(&header, 1)));
  sum.add(quoted);
  header.checksum = sum.finish();
  std::memcpy(buffer.transport().data(), &header, sizeof header);
  TxPiece piece{quoted.data(), static_cast<uint32_t>(quoted.size()), nullptr};
  TransportOutput output{.header = buffer,
                         .header_length = sizeof header,
                         .payload = {&piece, 1},
                         .payload_length = quoted.size()};
  IpFields fields{
      .source = route->source, .destination = view->source(), .protocol = IpProtocol::kIcmp};
  context_.counters.add(Counter::kIcmpOutMsgs);
  context_.counters.add(type == IcmpHeader::kUnreachable ? Counter::kIcmpOutDestUnreachs
                                                         : Counter::kIcmpOutTimeExcds);
  if (!send(*route, fields, output)) context_.counters.add(Counter::kIcmpOutErrors);
}

}  // namespace aril::net
