#include "net/datagram/datagram_socket.hpp"

#include <cstring>
#include <utility>

namespace aril::net {

DatagramSocket::~DatagramSocket() { ARIL_ASSERT(!bound_); }

Result<void> DatagramSocket::take_error() {
  Errno error = std::exchange(error_, Errno{});
  if (error != Errno{}) return fail(error);
  return {};
}

Result<void> DatagramSocket::fix_peer(const Endpoint& remote) {
  if (options_.v6_only && remote.address.is_v4()) return fail(Errno::kNetUnreach);
  uint32_t link = remote.scope != 0 ? remote.scope : options_.interface;
  if (link == 0 && remote.address.is_multicast())
    link = remote.address.is_v4() ? options_.multicast_interface_v4 : options_.multicast_interface;
  Route route = ARIL_TRY(ip_.route(remote.address, local_.address, link));
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

Result<DatagramSocket::Path> DatagramSocket::path_to(const Endpoint& destination,
                                                     const DatagramSource& source,
                                                     IpProtocol protocol) {
  bool is_v4 = destination.address.is_v4();
  if (options_.v6_only && is_v4) return fail(Errno::kNetUnreach);
  bool multicast = destination.address.is_multicast();
  uint32_t link = source.interface != 0 ? source.interface : options_.interface;
  if (destination.scope != 0) link = destination.scope;
  if (link == 0 && multicast)
    link = is_v4 ? options_.multicast_interface_v4 : options_.multicast_interface;
  IpAddress from = source.address.is_unspecified() ? local_.address : source.address;
  if (from.is_multicast() || from.is_limited_broadcast()) from = {};
  Path path;
  path.route = ARIL_TRY(ip_.route(destination.address, from, link));
  if (path.route.is_broadcast && !multicast && !options_.broadcast) return fail(Errno::kAcces);
  IpFields& fields = path.fields;
  fields.source = path.route.source;
  fields.destination =
      destination.address.is_unspecified() ? path.route.next_hop : destination.address;
  fields.protocol = protocol;
  fields.multicast_loop = options_.multicast_loop;
  if (is_v4) {
    fields.time_to_live = multicast ? options_.multicast_time_to_live : options_.time_to_live;
    fields.type_of_service = options_.type_of_service;
    fields.dont_fragment = options_.dont_fragment;
  } else {
    fields.time_to_live = multicast ? options_.multicast_hop_limit : options_.hop_limit;
    if (!multicast && options_.hop_limit == 0)
      fields.time_to_live = path.route.interface->hop_limit();
    fields.type_of_service = options_.traffic_class;
    fields.dont_fragment = options_.ipv6_dont_fragment;
  }
  if (source.hop_limit >= 0) fields.time_to_live = static_cast<uint8_t>(source.hop_limit);
  if (source.traffic_class >= 0)
    fields.type_of_service = static_cast<uint8_t>(source.traffic_class);
  return path;
}

Result<void> DatagramSocket::enqueue(const IpPacketInfo& info, const Endpoint& from,
                                     std::span<const std::byte> payload) {
  if (read_shut_) return {};
  if (context_.memory.is_exhausted()) {
    ++dropped_;
    return fail(Errno::kNoMem);
  }
  // A datagram costs its overhead too: empty ones must not queue without end.
  if (queued_bytes_ + payload.size() + sizeof(Datagram) > options_.receive_buffer &&
      !queue_.empty()) {
    ++dropped_;
    return fail(Errno::kNoBufs);
  }
  if (options_.join_segments && join_last(info, from, payload)) return {};
  auto packet = Packet::copy_of(payload);
  uint32_t cost = static_cast<uint32_t>(payload.size() + sizeof(Datagram));
  if (!packet || !queue_.push_back({.from = from,
                                    .to = info.destination,
                                    .interface = info.interface->index(),
                                    .time_to_live = info.time_to_live,
                                    .type_of_service = info.type_of_service,
                                    .received = context_.now,
                                    .packet = std::move(*packet),
                                    .offset = 0,
                                    .length = static_cast<uint32_t>(payload.size())})) {
    ++dropped_;
    return fail(Errno::kNoMem);
  }
  queued_bytes_ += cost;
  context_.memory.charge(cost);
  notify(kReadable);
  return {};
}

// [udp(7)] UDP_GRO: datagrams of one flow that follow each other become one, as long as all but
// the last have the same size.
bool DatagramSocket::join_last(const IpPacketInfo& info, const Endpoint& from,
                               std::span<const std::byte> payload) {
  constexpr size_t kMaxJoined = 65507;
  if (queue_.empty() || payload.empty()) return false;
  Datagram& last = queue_.back();
  uint32_t unit = last.segment_size != 0 ? last.segment_size : last.length;
  bool fits = last.from == from && last.to == info.destination &&
              last.interface == info.interface->index() && last.time_to_live == info.time_to_live &&
              last.type_of_service == info.type_of_service && unit != 0 && unit <= 0xffff &&
              payload.size() <= unit && last.length % unit == 0 &&
              last.length + payload.size() <= kMaxJoined;
  if (!fits) return false;
  size_t room = last.packet->size() - last.offset;
  if (room < last.length + payload.size()) {
    auto bigger = Packet::allocate(std::min(kMaxJoined, (last.length + payload.size()) * 2));
    if (!bigger) return false;
    std::memcpy((*bigger)->bytes().data(), last.payload().data(), last.length);
    last.packet = std::move(*bigger);
    last.offset = 0;
  }
  std::memcpy(last.packet->bytes().data() + last.offset + last.length, payload.data(),
              payload.size());
  last.length += static_cast<uint32_t>(payload.size());
  last.segment_size = static_cast<uint16_t>(unit);
  queued_bytes_ += static_cast<uint32_t>(payload.size());
  context_.memory.charge(payload.size());
  return true;
}

void DatagramSocket::report_error(const IpError& error, const Endpoint& destination,
                                  std::span<const std::byte> quoted) {
  error_ = error.error;
  if (options_.receive_errors && errors_.size() < kMaxErrors) {
    if (auto payload = Packet::copy_of(quoted))
      (void)errors_.push_back({error, destination, std::move(*payload)});
  }
  notify(PollEvents::kErr | kReadable | kWritable);
}

Result<DatagramError> DatagramSocket::receive_queued_error() {
  if (errors_.empty()) return fail(Errno::kAgain);
  DatagramError error = std::move(errors_.front());
  errors_.pop_front();
  error_ = errors_.empty() ? Errno{} : errors_.front().cause.error;
  return error;
}

Result<const Datagram*> DatagramSocket::peek() {
  ARIL_TRY(take_error());
  if (queue_.empty()) return fail(Errno::kAgain);
  return &queue_.front();
}

Result<Datagram> DatagramSocket::receive() {
  ARIL_TRY(peek());
  Datagram datagram = std::move(queue_.front());
  queue_.pop_front();
  uint32_t cost = datagram.length + static_cast<uint32_t>(sizeof(Datagram));
  queued_bytes_ -= cost;
  context_.memory.release(cost);
  return datagram;
}

Result<void> DatagramSocket::shutdown_read() {
  if (!remote_) return fail(Errno::kNotConn);
  read_shut_ = true;
  notify(PollEvents::kRdHup | kReadable);
  return {};
}

Result<void> DatagramSocket::shutdown_write() {
  if (!remote_) return fail(Errno::kNotConn);
  write_shut_ = true;
  notify(kWritable);
  return {};
}

void DatagramSocket::close() {
  observer_ = nullptr;
  if (bound_) unregister();
  bound_ = false;
  while (!groups_.empty()) {
    leave_link(groups_.back());
    groups_.pop_back();
  }
  context_.memory.release(queued_bytes_);
  queued_bytes_ = 0;
  queue_.clear();
  errors_.clear();
}

PollEvents DatagramSocket::events() const {
  PollEvents events = kWritable;
  if (!queue_.empty()) events |= kReadable;
  if (error_ != Errno{} || !errors_.empty()) events |= PollEvents::kErr;
  if (read_shut_) events |= PollEvents::kRdHup | kReadable;
  if (read_shut_ && write_shut_) events |= PollEvents::kHup;
  return events;
}

Result<Endpoint> DatagramSocket::remote() const {
  if (!remote_) return fail(Errno::kNotConn);
  return *remote_;
}

size_t DatagramSocket::next_datagram_size() const { return queue_.empty() ? 0 : queue_[0].length; }

Result<void> DatagramSocket::set_options(const DatagramOptions& options) {
  options_ = options;
  return {};
}

}  // namespace aril::net
