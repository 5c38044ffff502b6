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
  if (options_.v6_only && local.address.is_v4()) return fail(Errno::kInval);
  if (local.address.needs_scope() && local.scope == 0) return fail(Errno::kInval);
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
  if (options_.v6_only && remote.address.is_v4()) return fail(Errno::kNetUnreach);
  if (!bound_) ARIL_TRY(bind({.address = any_}));
  uint32_t link = remote.scope != 0 ? remote.scope : options_.interface;
  if (link == 0 && remote.address.is_multicast()) link = options_.multicast_interface;
  Route route = ARIL_TRY(layer_.ip_.route(remote.address, local_.address, link));
  if (route.is_broadcast && !remote.address.is_multicast() && !options_.broadcast)
    return fail(Errno::kAcces);
  if (local_.address.is_unspecified()) {
    local_.address = route.source;
    local_.scope = route.interface->scope_of(route.source);
  }
  Endpoint peer = remote;
  if (peer.address.is_unspecified()) peer.address = loopback_of(peer.address);
  peer.scope = route.interface->scope_of(peer.address);
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
  bool is_v4 = destination.address.is_v4();
  if (options_.v6_only && is_v4) return fail(Errno::kNetUnreach);
  // IPv6's length field does not count its own header.
  size_t headers = sizeof(UdpHeader) + (is_v4 ? sizeof(Ipv4Header) : size_t{0});
  if (payload.size() > 65535 - headers) return fail(Errno::kMsgSize);
  if (!bound_) ARIL_TRY(bind({.address = any_}));
  uint32_t link = source.interface != 0 ? source.interface : options_.interface;
  if (destination.scope != 0) link = destination.scope;
  if (link == 0 && !is_v4 && destination.address.is_multicast())
    link = options_.multicast_interface;
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
  IpFields fields{.source = route.source, .destination = target, .protocol = IpProtocol::kUdp};
  if (is_v4) {
    fields.time_to_live = multicast ? options_.multicast_time_to_live : options_.time_to_live;
    fields.type_of_service = options_.type_of_service;
    fields.dont_fragment = options_.dont_fragment;
  } else {
    fields.time_to_live = multicast ? options_.multicast_hop_limit : options_.hop_limit;
    if (source.hop_limit >= 0) {
      fields.time_to_live = static_cast<uint8_t>(source.hop_limit);
    } else if (!multicast && options_.hop_limit == 0) {
      fields.time_to_live = route.interface->hop_limit();
    }
    fields.type_of_service = source.traffic_class >= 0 ? static_cast<uint8_t>(source.traffic_class)
                                                       : options_.traffic_class;
    fields.dont_fragment = options_.ipv6_dont_fragment;
  }
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
  while (!groups_.empty()) {
    leave_link(groups_.back());
    groups_.pop_back();
  }
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
  if (!group.is_v4() && interface == 0) {
    const Interface* link = layer_.ip_.group_interface(group, 0);
    if (link == nullptr) return fail(Errno::kNoDev);
    interface = link->index();
  }
  for (size_t i = 0; i < groups_.size(); ++i)
    if (groups_[i].address == group && groups_[i].interface == interface)
      return fail(Errno::kAddrInUse);
  if (groups_.size() == kMaxGroups) return fail(Errno::kNoBufs);
  ARIL_TRY(groups_.push_back({group, interface}));
  if (group.is_v4()) return {};
  auto joined = layer_.ip_.join_group(*layer_.ip_.interface(interface), group);
  if (!joined) groups_.pop_back();
  return joined;
}

void UdpSocket::leave_link(const Group& group) {
  if (group.address.is_v4()) return;
  layer_.ip_.leave_group(*layer_.ip_.interface(group.interface), group.address);
}

Result<void> UdpSocket::leave_group(IpAddress group, uint32_t interface) {
  for (size_t i = 0; i < groups_.size(); ++i) {
    bool any_link = interface == 0 && !group.is_v4();
    if (groups_[i].address != group || (groups_[i].interface != interface && !any_link)) continue;
    leave_link(groups_[i]);
    groups_[i] = groups_.back();
    groups_.pop_back();
    return {};
  }
  return fail(Errno::kAddrNotAvail);
}

}  // namespace aril::net
