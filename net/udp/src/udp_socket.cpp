#include "net/udp/udp_socket.hpp"

#include <cstring>

#include "net/udp/udp_layer.hpp"
#include "net/wire/checksum.hpp"

namespace aril::net {

UdpSocket::~UdpSocket() { ARIL_ASSERT(!bound_); }

void UdpSocket::notify(PollEvents events) {
  if (observer_ != nullptr) observer_->on_socket_events(events);
}

void UdpSocket::deliver(UdpDatagram datagram) {
  uint32_t cost = datagram.length + sizeof(UdpDatagram);
  if (!queue_.push_back(std::move(datagram))) return;
  queued_bytes_ += cost;
  layer_.context_.memory.charge(cost);
  notify(kReadable);
}

void UdpSocket::report_error(Errno error) {
  error_ = error;
  notify(PollEvents::kErr | kReadable | kWritable);
}

Result<void> UdpSocket::take_error() {
  Errno error = std::exchange(error_, Errno{});
  if (error != Errno{}) return fail(error);
  return {};
}

Result<void> UdpSocket::bind(const Endpoint& local) {
  if (bound_) return fail(Errno::kInval);
  bool group = local.address.is_multicast() || local.address.is_limited_broadcast();
  if (!local.address.is_unspecified() && !group && !layer_.ip_.is_local(local.address))
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
  if (!bound_) ARIL_TRY(bind({}));
  Route route = ARIL_TRY(layer_.ip_.route(remote.address, local_.address, options_.interface));
  if (route.is_broadcast && !remote.address.is_multicast() && !options_.broadcast)
    return fail(Errno::kAcces);
  if (local_.address.is_unspecified()) local_.address = route.source;
  Endpoint peer = remote;
  if (peer.address.is_unspecified()) peer.address = IpAddress::v4(127, 0, 0, 1);
  remote_ = peer;
  return {};
}

void UdpSocket::disconnect() { remote_.reset(); }

Result<size_t> UdpSocket::send(std::span<const std::byte> payload,
                               const std::optional<Endpoint>& to, const UdpSource& source) {
  ARIL_TRY(take_error());
  if (write_shut_) return fail(Errno::kPipe);
  if (!to && !remote_) return fail(Errno::kDestAddrReq);
  const Endpoint destination = to ? *to : *remote_;
  if (destination.port == 0) return fail(Errno::kInval);
  if (payload.size() > 65535 - sizeof(Ipv4Header) - sizeof(UdpHeader)) return fail(Errno::kMsgSize);
  if (!bound_) ARIL_TRY(bind({}));
  uint32_t link = source.interface != 0 ? source.interface : options_.interface;
  IpAddress from = source.address.is_unspecified() ? local_.address : source.address;
  if (from.is_multicast() || from.is_limited_broadcast()) from = {};
  Route route = ARIL_TRY(layer_.ip_.route(destination.address, from, link));
  bool multicast = destination.address.is_multicast();
  if (route.is_broadcast && !multicast && !options_.broadcast) return fail(Errno::kAcces);

  size_t length = sizeof(UdpHeader) + payload.size();
  IpAddress target = destination.address.is_unspecified() ? route.next_hop : destination.address;
  UdpHeader header{.source_port = local_.port,
                   .destination_port = destination.port,
                   .length = static_cast<uint16_t>(length)};
  Checksum sum;
  sum.add_pseudo_header(route.source, target, static_cast<uint8_t>(IpProtocol::kUdp),
                        static_cast<uint32_t>(length));
  HeaderBuffer buffer;
  TxPiece piece{payload.data(), static_cast<uint32_t>(payload.size()), nullptr};
  TransportOutput output{.header = buffer,
                         .header_length = sizeof header,
                         .payload = {&piece, payload.empty() ? size_t{0} : size_t{1}},
                         .payload_length = payload.size()};
  if (has(route.interface->features(), LinkFeatures::kChecksum)) {
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
  Ipv4Fields fields{
      .source = route.source,
      .destination = target,
      .protocol = IpProtocol::kUdp,
      .time_to_live = multicast ? options_.multicast_time_to_live : options_.time_to_live,
      .type_of_service = options_.type_of_service,
      .fragment = options_.dont_fragment ? Ipv4Header::kDontFragment : uint16_t{0}};
  auto sent = layer_.ip_.send(route, fields, output);
  if (!sent) {
    layer_.context_.counters.add(Counter::kUdpSndbufErrors);
    return fail(sent.error());
  }
  layer_.context_.counters.add(Counter::kUdpOutDatagrams);
  return payload.size();
}

Result<const UdpDatagram*> UdpSocket::peek() {
  ARIL_TRY(take_error());
  if (queue_.empty()) return fail(Errno::kAgain);
  return &queue_.front();
}

Result<UdpDatagram> UdpSocket::receive() {
  ARIL_TRY(peek());
  UdpDatagram datagram = std::move(queue_.front());
  queue_.pop_front();
  uint32_t cost = datagram.length + sizeof(UdpDatagram);
  queued_bytes_ -= cost;
  layer_.context_.memory.release(cost);
  return datagram;
}

Result<void> UdpSocket::shutdown_read() {
  if (!remote_) return fail(Errno::kNotConn);
  read_shut_ = true;
  notify(PollEvents::kRdHup | kReadable);
  return {};
}

Result<void> UdpSocket::shutdown_write() {
  if (!remote_) return fail(Errno::kNotConn);
  write_shut_ = true;
  notify(kWritable);
  return {};
}

void UdpSocket::close() {
  observer_ = nullptr;
  if (bound_) layer_.remove(*this);
  bound_ = false;
  layer_.context_.memory.release(queued_bytes_);
  queued_bytes_ = 0;
  queue_.clear();
}

PollEvents UdpSocket::events() const {
  PollEvents events = kWritable;
  if (!queue_.empty()) events |= kReadable;
  if (error_ != Errno{}) events |= PollEvents::kErr;
  if (read_shut_) events |= PollEvents::kRdHup | kReadable;
  if (read_shut_ && write_shut_) events |= PollEvents::kHup;
  return events;
}

Result<Endpoint> UdpSocket::remote() const {
  if (!remote_) return fail(Errno::kNotConn);
  return *remote_;
}

size_t UdpSocket::next_datagram_size() const { return queue_.empty() ? 0 : queue_[0].length; }

Result<void> UdpSocket::set_options(const UdpOptions& options) {
  options_ = options;
  return {};
}

Result<void> UdpSocket::join_group(IpAddress group, uint32_t interface) {
  if (!group.is_multicast()) return fail(Errno::kInval);
  if (interface != 0 && layer_.ip_.interface(interface) == nullptr) return fail(Errno::kNoDev);
  for (size_t i = 0; i < groups_.size(); ++i)
    if (groups_[i].address == group && groups_[i].interface == interface)
      return fail(Errno::kAddrInUse);
  if (groups_.size() == kMaxGroups) return fail(Errno::kNoBufs);
  return groups_.push_back({group, interface});
}

Result<void> UdpSocket::leave_group(IpAddress group, uint32_t interface) {
  for (size_t i = 0; i < groups_.size(); ++i) {
    if (groups_[i].address != group || groups_[i].interface != interface) continue;
    groups_[i] = groups_.back();
    groups_.pop_back();
    return {};
  }
  return fail(Errno::kAddrNotAvail);
}

}  // namespace aril::net
