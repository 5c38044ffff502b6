#include "net/raw/raw_socket.hpp"

#include <cstring>

#include "net/ip/binding.hpp"
#include "net/raw/raw_layer.hpp"
#include "net/wire/checksum.hpp"

namespace aril::net {
namespace {
constexpr uint8_t kIcmpv6 = static_cast<uint8_t>(IpProtocol::kIcmpv6);
}

RawSocket::RawSocket(RawLayer& layer, RawKind kind, uint8_t protocol, IpAddress any)
    : DatagramSocket(layer.ip_, any), layer_(layer), kind_(kind), protocol_(protocol) {
  // [Linux inet_create] IPPROTO_RAW is for whole packets; ICMPv6's checksum is the kernel's work
  // [RFC 3542] 3.1.
  raw_options_.includes_header = protocol == kRawProtocol && any.is_v4();
  if (protocol == kIcmpv6 && !any.is_v4())
    raw_options_.checksum_offset = offsetof(IcmpHeader, checksum);
}

void RawSocket::unregister() { layer_.remove(*this); }

Result<void> RawSocket::set_raw_options(const RawOptions& options) {
  if (options.checksum_offset > 0 && options.checksum_offset % 2 != 0) return fail(Errno::kInval);
  raw_options_ = options;
  return {};
}

Result<void> RawSocket::bind(const Endpoint& local) {
  if (local.address.needs_scope() && local.scope == 0) return fail(Errno::kInval);
  if (local.address.is_v4() == is_v6()) return fail(Errno::kInval);
  if (!local.address.is_unspecified() && !local.address.is_multicast() &&
      !ip_.is_local(local.address))
    return fail(Errno::kAddrNotAvail);
  if (kind_ == RawKind::kPing && local.port != 0 && layer_.is_identifier_taken(local.port, *this))
    return fail(Errno::kAddrInUse);
  local_ = local;
  if (kind_ == RawKind::kRaw) local_.port = 0;
  return {};
}

Result<void> RawSocket::connect(const Endpoint& remote) {
  if (remote.address.is_v4() == is_v6()) return fail(Errno::kInval);
  ARIL_TRY(fix_peer(remote));
  if (kind_ == RawKind::kRaw) remote_->port = 0;
  return {};
}

bool RawSocket::passes_filter(uint8_t type) const {
  if (is_v6()) return (raw_options_.icmpv6_filter[type / 32] >> type % 32 & 1) == 0;
  return type >= 32 || (raw_options_.icmp_filter >> type & 1) == 0;
}

bool RawSocket::wants(const IpPacketInfo& info, uint8_t protocol,
                      std::span<const std::byte> payload) const {
  if (protocol_ != protocol || info.destination.is_v4() == is_v6()) return false;
  if (!Binding{local_.address, true}.covers(info.destination) && !info.is_broadcast) return false;
  if (remote_ && remote_->address != info.source) return false;
  if (options_.interface != 0 && options_.interface != info.interface->index()) return false;
  if (!wants_group(info)) return false;
  bool is_icmp =
      protocol == static_cast<uint8_t>(is_v6() ? IpProtocol::kIcmpv6 : IpProtocol::kIcmp);
  if (!is_icmp) return true;
  IcmpHeader header;
  if (payload.size() < sizeof header) return false;
  std::memcpy(&header, payload.data(), sizeof header);
  if (kind_ == RawKind::kRaw) return passes_filter(header.type);
  uint8_t reply = is_v6() ? Icmpv6::kEchoReply : IcmpHeader::kEchoReply;
  return header.type == reply && local_.port != 0 && header.rest.get() >> 16 == local_.port;
}

Result<void> RawSocket::fill_checksum(std::span<std::byte> message, const Path& path) const {
  if (raw_options_.checksum_offset < 0) return {};
  auto at = static_cast<size_t>(raw_options_.checksum_offset);
  Be<uint16_t> value = uint16_t{0};
  if (at + sizeof value > message.size()) return fail(Errno::kInval);
  std::memcpy(message.data() + at, &value, sizeof value);
  Checksum sum;
  if (is_v6())
    sum.add_pseudo_header(path.fields.source, path.fields.destination, protocol_,
                          static_cast<uint32_t>(message.size()));
  sum.add(message);
  value = sum.finish();
  std::memcpy(message.data() + at, &value, sizeof value);
  return {};
}

// [raw(7)] What the kernel fills in of a header that the program gave.
Result<void> RawSocket::send_with_header(std::span<const std::byte> packet, const Path& path) {
  Ipv4Header header;
  if (packet.size() < sizeof header) return fail(Errno::kInval);
  if (packet.size() > path.route.interface->mtu()) return fail(Errno::kMsgSize);
  std::memcpy(&header, packet.data(), sizeof header);
  size_t length = (header.version_and_length & 0xf) * 4u;
  if (length < sizeof header || length > packet.size()) return fail(Errno::kInval);
  auto copy = ARIL_TRY(Packet::copy_of(packet));
  std::span<std::byte> bytes = copy->bytes();
  if (header.source.get() == 0) header.source = path.route.source.v4_value();
  if (header.identification.get() == 0)
    header.identification = static_cast<uint16_t>(context_.random());
  header.total_length = static_cast<uint16_t>(packet.size());
  header.checksum = 0;
  std::memcpy(bytes.data(), &header, sizeof header);
  Checksum sum;
  sum.add(bytes.first(length));
  header.checksum = sum.finish();
  std::memcpy(bytes.data(), &header, sizeof header);
  context_.counters.add(Counter::kIpOutRequests);
  return ip_.send_packet(path.route, bytes, length);
}

Result<size_t> RawSocket::send(std::span<const std::byte> payload,
                               const std::optional<Endpoint>& to, const DatagramSource& source) {
  ARIL_TRY(take_error());
  if (write_shut_) return fail(Errno::kPipe);
  if (!to && !remote_) return fail(Errno::kDestAddrReq);
  const Endpoint destination = to ? *to : *remote_;
  if (destination.address.is_v4() == is_v6()) return fail(Errno::kInval);
  if (payload.size() > 65535 - (is_v6() ? 0 : sizeof(Ipv4Header))) return fail(Errno::kMsgSize);
  Path path = ARIL_TRY(path_to(destination, source, static_cast<IpProtocol>(protocol_)));
  if (raw_options_.includes_header) {
    ARIL_TRY(send_with_header(payload, path));
    return payload.size();
  }
  auto copy = ARIL_TRY(Packet::copy_of(payload));
  std::span<std::byte> message = copy->bytes();
  if (kind_ == RawKind::kPing) {
    // [icmp(7)] Only echo requests, under the socket's own identifier.
    IcmpHeader header;
    if (message.size() < sizeof header) return fail(Errno::kInval);
    std::memcpy(&header, message.data(), sizeof header);
    uint8_t request = is_v6() ? Icmpv6::kEchoRequest : IcmpHeader::kEchoRequest;
    if (header.type != request || header.code != 0) return fail(Errno::kInval);
    if (local_.port == 0) local_.port = ARIL_TRY(layer_.pick_identifier());
    header.rest = (header.rest.get() & 0xffff) | uint32_t{local_.port} << 16;
    header.checksum = 0;
    std::memcpy(message.data(), &header, sizeof header);
    if (!is_v6()) {
      Checksum sum;
      sum.add(message);
      header.checksum = sum.finish();
      std::memcpy(message.data(), &header, sizeof header);
    }
  }
  ARIL_TRY(fill_checksum(message, path));
  HeaderBuffer buffer;
  TxPiece piece{message.data(), static_cast<uint32_t>(message.size()), nullptr};
  ARIL_TRY(ip_.send(path.route, path.fields,
                    {.header = buffer,
                     .payload = {&piece, message.empty() ? size_t{0} : size_t{1}},
                     .payload_length = message.size()}));
  return payload.size();
}

Result<uint16_t> RawLayer::pick_identifier() {
  auto start = static_cast<uint16_t>(ip_.context().random());
  for (uint32_t i = 0; i < 0x10000; ++i) {
    auto candidate = static_cast<uint16_t>(start + i);
    bool taken = candidate == 0;
    for (const RawSocket* other = first_; other != nullptr && !taken; other = other->next_)
      taken = other->kind_ == RawKind::kPing && other->local_.port == candidate;
    if (!taken) return candidate;
  }
  return fail(Errno::kAgain);
}

}  // namespace aril::net
