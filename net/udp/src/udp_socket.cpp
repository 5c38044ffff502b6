#include "net/udp/udp_socket.hpp"

#include <cstring>

#include "net/udp/udp_layer.hpp"
#include "net/wire/checksum.hpp"

namespace aril::net {

UdpSocket::UdpSocket(UdpLayer& layer, IpAddress any)
    : DatagramSocket(layer.ip_, any), layer_(layer) {}

void UdpSocket::unregister() { layer_.remove(*this); }

Result<void> UdpSocket::bind(const Endpoint& local) {
  if (bound_) return fail(Errno::kInval);
  if (options_.v6_only && local.address.is_v4()) return fail(Errno::kInval);
  if (local.address.needs_scope() && local.scope == 0) return fail(Errno::kInval);
  bool group = local.address.is_multicast() || local.address.is_limited_broadcast();
  if (!local.address.is_unspecified() && !group && !ip_.is_local(local.address))
    return fail(Errno::kAddrNotAvail);
  Endpoint chosen = local;
  if (chosen.port == 0) {
    chosen.port = ARIL_TRY(layer_.pick_port(*this, local.address));
  } else if (layer_.conflicts(*this, chosen)) {
    return fail(Errno::kAddrInUse);
  }
  local_ = chosen;
  bound_ = true;
  layer_.insert(*this);
  return {};
}

Result<void> UdpSocket::connect(const Endpoint& remote) {
  if (options_.v6_only && remote.address.is_v4()) return fail(Errno::kNetUnreach);
  if (!bound_) ARIL_TRY(bind({.address = any_}));
  return fix_peer(remote);
}

Result<size_t> UdpSocket::send(std::span<const std::byte> payload,
                               const std::optional<Endpoint>& to, const DatagramSource& source) {
  constexpr size_t kMaxSegments = 64;  // Linux's UDP_MAX_SEGMENTS
  ARIL_TRY(take_error());
  if (write_shut_) return fail(Errno::kPipe);
  if (!to && !remote_) return fail(Errno::kDestAddrReq);
  const Endpoint destination = to ? *to : *remote_;
  if (destination.port == 0) return fail(Errno::kInval);
  // IPv6's length field does not count its own header.
  bool is_v4 = destination.address.is_v4();
  size_t headers = sizeof(UdpHeader) + (is_v4 ? sizeof(Ipv4Header) : size_t{0});
  if (payload.size() > 65535 - headers) return fail(Errno::kMsgSize);
  if (!bound_) ARIL_TRY(bind({.address = any_}));
  Path path = ARIL_TRY(path_to(destination, source, IpProtocol::kUdp));
  size_t unit =
      source.segment_size >= 0 ? static_cast<size_t>(source.segment_size) : options_.segment_size;
  if (unit == 0 || payload.size() <= unit) {
    ARIL_TRY(send_one(path, destination.port, payload));
    return payload.size();
  }
  // [Linux udp_send_skb] Each segment must fit the path: they are not fragmented.
  uint32_t mtu = ip_.path_mtu(path.route, path.fields.destination);
  if (unit + sizeof(UdpHeader) + network_header_size(destination.address) > mtu ||
      payload.size() > unit * kMaxSegments)
    return fail(Errno::kInval);
  for (size_t at = 0; at < payload.size(); at += unit) {
    size_t length = std::min(unit, payload.size() - at);
    ARIL_TRY(send_one(path, destination.port, payload.subspan(at, length)));
  }
  return payload.size();
}

Result<void> UdpSocket::send_one(const Path& path, uint16_t port,
                                 std::span<const std::byte> payload) {
  size_t length = sizeof(UdpHeader) + payload.size();
  UdpHeader header{.source_port = local_.port,
                   .destination_port = port,
                   .length = static_cast<uint16_t>(length)};
  Checksum sum;
  sum.add_pseudo_header(path.fields.source, path.fields.destination,
                        static_cast<uint8_t>(IpProtocol::kUdp), static_cast<uint32_t>(length));
  HeaderBuffer buffer;
  TxPiece piece{payload.data(), static_cast<uint32_t>(payload.size()), nullptr};
  TransportOutput output{.header = buffer,
                         .header_length = sizeof header,
                         .payload = {&piece, payload.empty() ? size_t{0} : size_t{1}},
                         .payload_length = payload.size()};
  if (has(path.route.interface->features(), LinkFeatures::kChecksum)) {
    header.checksum = sum.partial();
    output.checksum_offset = offsetof(UdpHeader, checksum);
  } else {
    sum.add(std::as_bytes(std::span(&header, 1)));
    sum.add(payload);
    // [RFC 768]: a computed zero is sent as all ones.
    uint16_t value = sum.finish();
    header.checksum = value == 0 ? 0xffff : value;
  }
  std::memcpy(buffer.transport().data(), &header, sizeof header);
  if (auto sent = ip_.send(path.route, path.fields, output); !sent) {
    context_.counters.add(Counter::kUdpSndbufErrors);
    return sent;
  }
  context_.counters.add(Counter::kUdpOutDatagrams);
  return {};
}

}  // namespace aril::net
