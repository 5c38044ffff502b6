#include "datagram_file.hpp"

#include <algorithm>
#include <bit>

#include "base/endian.hpp"
#include "base/image_use.hpp"

namespace aril::net {

namespace {
constexpr size_t kMaxPayload = 65527;  // 65535 less UDP's header: what IPv6 can carry
constexpr uint32_t kFionread = 0x541b, kSiocOutq = 0x5411;
}  // namespace

namespace {

/// The file around a handle that `create(stack)` makes.
template <typename Create>
Result<RefPtr<Socket>> create_file(Runtime& runtime, Family family, SocketType type, int protocol,
                                   OpenFlags flags, Create create) {
  RefPtr<DatagramSocket> handle;
  {
    Runtime::Guard guard(runtime);
    handle = RefPtr<DatagramSocket>(ARIL_TRY(create(guard.stack())).get());
  }
  auto file = try_make_ref<DatagramFile>(runtime, family, type, protocol, std::move(handle), flags);
  if (file) return *file;
  Runtime::Guard guard(runtime);
  // NOLINTNEXTLINE(bugprone-use-after-move): without memory for the file nothing was moved
  handle->close();
  handle.reset();
  return fail(file.error());
}

}  // namespace

Result<RefPtr<Socket>> create_udp_socket(Runtime& runtime, Family family, OpenFlags flags) {
  return create_file(runtime, family, SocketType::kDatagram, kIpProtocolUdp, flags,
                     [&](Stack& stack) { return stack.create_udp_socket(any_of(family)); });
}

Result<RefPtr<Socket>> create_raw_socket(Runtime& runtime, Family family, SocketType type,
                                         int protocol, OpenFlags flags) {
  RawKind kind = type == SocketType::kRaw ? RawKind::kRaw : RawKind::kPing;
  return create_file(runtime, family, type, protocol, flags, [&](Stack& stack) {
    return stack.raw().create_socket(kind, static_cast<uint8_t>(protocol), any_of(family));
  });
}

void serve_raw_sockets() { g_create_raw_socket = &create_raw_socket; }

DatagramFile::DatagramFile(Runtime& runtime, Family family, SocketType type, int protocol,
                           RefPtr<DatagramSocket> handle, OpenFlags flags)
    : InetSocket(runtime, family, type, protocol, flags), handle_(std::move(handle)) {
  if (type == SocketType::kRaw || protocol != kIpProtocolUdp)
    raw_ = static_cast<RawSocket*>(handle_.get());
  Runtime::Guard guard(runtime_);
  handle_->set_observer(this);
}

Result<void> DatagramFile::set_filter(std::optional<PacketFilter> filter) {
  if (raw_ == nullptr) return fail(Errno::kNoProtoOpt);
  Runtime::Guard guard(runtime_);
  raw_->set_filter(std::move(filter));
  return {};
}

DatagramFile::~DatagramFile() {
  Runtime::Guard guard(runtime_);
  handle_->set_observer(nullptr);
  handle_->close();
  handle_.reset();
}

Result<void> DatagramFile::bind(const SocketAddress& address) {
  Endpoint local = ARIL_TRY(endpoint_of(address, family()));
  Runtime::Guard guard(runtime_);
  return handle_->bind(local);
}

ARIL_ONLY_FOR(connect)
Result<void> DatagramFile::connect(const SocketAddress& address) {
  if (address.family() == Family::kUnspecified) {
    Runtime::Guard guard(runtime_);
    handle_->disconnect();
    return {};
  }
  Endpoint remote = ARIL_TRY(peer_of(address));
  Runtime::Guard guard(runtime_);
  return handle_->connect(remote);
}

Result<void> DatagramFile::shutdown(ShutdownSide side) {
  Runtime::Guard guard(runtime_);
  if (!handle_->remote()) return fail(Errno::kNotConn);
  if (side != ShutdownSide::kWrite) ARIL_TRY(handle_->shutdown_read());
  if (side != ShutdownSide::kRead) ARIL_TRY(handle_->shutdown_write());
  return {};
}

Result<SocketAddress> DatagramFile::local_address() {
  Runtime::Guard guard(runtime_);
  return address_of(handle_->local(), family());
}

Result<SocketAddress> DatagramFile::peer_address() {
  Runtime::Guard guard(runtime_);
  return address_of(ARIL_TRY(handle_->remote()), family());
}

Result<size_t> DatagramFile::send(OutgoingMessage& message) {
  if (has(message.flags, MessageFlags::kOutOfBand)) return fail(Errno::kOpNotSupp);
  std::optional<Endpoint> to;
  if (message.destination != nullptr && message.destination->length != 0)
    to = ARIL_TRY(peer_of(*message.destination));
  size_t length = message.data.remaining();
  if (length > kMaxPayload) return fail(Errno::kMsgSize);
  DatagramSource source;
  if (message.control != nullptr && message.control->packet_info) {
    const PacketInfo& info = *message.control->packet_info;
    source.interface = static_cast<uint32_t>(info.interface);
    source.address = IpAddress::v4(std::byteswap(info.local));
  }
  if (message.control != nullptr) {
    const ControlData& control = *message.control;
    if (control.ipv6_packet_info) {
      Be<uint64_t> halves[2];
      memcpy(halves, control.ipv6_packet_info->address.data(), sizeof(halves));
      source.interface = control.ipv6_packet_info->interface;
      source.address = IpAddress::v6(halves[0], halves[1]);
    }
    source.hop_limit = control.hop_limit.value_or(-1);
    source.traffic_class = control.traffic_class.value_or(-1);
    if (control.segment_size) source.segment_size = *control.segment_size;
  }
  // DNS and its like fit on the stack; the application's memory is touched without the lock.
  std::byte small[1024];
  PacketPtr large;
  std::span<std::byte> payload(small);
  if (length > sizeof(small)) {
    large = ARIL_TRY(Packet::allocate(length));
    payload = large->bytes();
  }
  payload = payload.first(length);
  if (length != 0 && ARIL_TRY(message.data.copy_in(payload)) != length) return fail(Errno::kFault);
  Runtime::Guard guard(runtime_);
  return handle_->send(payload, to, source);
}

Result<DatagramFile::Received> DatagramFile::take(bool peek) {
  Runtime::Guard guard(runtime_);
  Received received;
  if (!peek) {
    received.datagram = ARIL_TRY(handle_->receive());
    return received;
  }
  const Datagram* next = ARIL_TRY(handle_->peek());
  received.copy = ARIL_TRY(Packet::copy_of(next->payload()));
  received.datagram.from = next->from;
  received.datagram.to = next->to;
  received.datagram.interface = next->interface;
  received.datagram.time_to_live = next->time_to_live;
  received.datagram.type_of_service = next->type_of_service;
  received.datagram.received = next->received;
  received.datagram.segment_size = next->segment_size;
  received.datagram.length = next->length;
  return received;
}

void DatagramFile::fill_control(const Datagram& datagram, ControlData& control) {
  if (packet_info_ && datagram.to.is_v4()) {
    uint32_t address = std::byteswap(datagram.to.v4_value());
    control.packet_info = PacketInfo{static_cast<int32_t>(datagram.interface), address, address};
  }
  if (datagram.segment_size != 0) control.segment_size = datagram.segment_size;
  if (receive_ttl_) control.time_to_live = datagram.time_to_live;
  if (receive_tos_) control.type_of_service = datagram.type_of_service;
  // [Linux ip6_datagram_recv_specific_ctl] For IPv4 datagrams only the address is told.
  if (ipv6_packet_info_) {
    Be<uint64_t> halves[2] = {datagram.to.high(), datagram.to.low()};
    Ipv6PacketInfo info{.interface = datagram.interface};
    memcpy(info.address.data(), halves, sizeof(halves));
    control.ipv6_packet_info = info;
  }
  if (receive_hop_limit_ && !datagram.to.is_v4()) control.hop_limit = datagram.time_to_live;
  if (receive_traffic_class_ && !datagram.to.is_v4())
    control.traffic_class = datagram.type_of_service;
  // Monotonic here: the socket calls know the realtime clock.
  if (options_.timestamp || options_.timestamp_ns) control.received_ns = datagram.received.ns;
}

Result<size_t> DatagramFile::receive(IncomingMessage& message) {
  if (has(message.flags, MessageFlags::kErrorQueue)) {
    // Without the options that ask for errors there are none.
    if (!ARIL_HAS_USE(error_queue)) return fail(Errno::kAgain);
    return receive_error(message);
  }
  for (;;) {
    auto received = take(has(message.flags, MessageFlags::kPeek));
    if (!received) {
      if (received.error() != Errno::kAgain) return fail(received.error());
      // [Linux] A socket that is shut down for reading has ended.
      if (has(poll(nullptr), PollEvents::kRdHup)) return 0;
      if (!may_wait(message.flags)) return fail(Errno::kAgain);
      ARIL_TRY(wait_for(PollEvents::kIn | PollEvents::kRdHup, options_.receive_timeout));
      continue;
    }
    std::span<const std::byte> payload = received->payload();
    size_t room = message.data.remaining();
    size_t count = std::min(payload.size(), room);
    if (count != 0 && ARIL_TRY(message.data.copy_out(payload.first(count))) != count)
      return fail(Errno::kFault);
    message.source = address_of(received->datagram.from, family());
    fill_control(received->datagram, message.control);
    if (payload.size() > room) {
      message.result_flags |= MessageFlags::kTruncated;
      // [recv(2)] MSG_TRUNC asks for the real length.
      if (has(message.flags, MessageFlags::kTruncated)) return payload.size();
    }
    return count;
  }
}

// [ip(7)] IP_RECVERR: what came back, whom it was for, who complained and why.
ARIL_ONLY_FOR(error_queue)
Result<size_t> DatagramFile::receive_error(IncomingMessage& message) {
  /// struct sock_extended_err.
  struct ExtendedError {
    uint32_t error;
    uint8_t origin, type, code, padding;
    uint32_t information, data;
  };
  constexpr uint8_t kLocal = 1, kIcmp = 2, kIcmpv6 = 3;  // SO_EE_ORIGIN_*
  DatagramError queued;
  {
    Runtime::Guard guard(runtime_);
    queued = ARIL_TRY(handle_->receive_queued_error());
  }
  auto payload = std::span<const std::byte>(queued.payload->bytes());
  size_t count = std::min(payload.size(), message.data.remaining());
  if (count != 0 && ARIL_TRY(message.data.copy_out(payload.first(count))) != count)
    return fail(Errno::kFault);
  const IpError& cause = queued.cause;
  bool is_ipv6 = !queued.destination.address.is_v4();
  bool is_local = cause.offender.is_unspecified();
  ExtendedError error{.error = static_cast<uint32_t>(cause.error),
                      .origin = is_local  ? kLocal
                                : is_ipv6 ? kIcmpv6
                                          : kIcmp,
                      .type = cause.type,
                      .code = cause.code,
                      .padding = 0,
                      .information = cause.next_hop_mtu,
                      .data = 0};
  SocketAddress offender =
      address_of({cause.offender, 0, 0}, is_ipv6 ? Family::kInet6 : Family::kInet);
  QueuedError told{.is_ipv6 = is_ipv6};
  memcpy(told.bytes.data(), &error, sizeof(error));
  memcpy(told.bytes.data() + sizeof(error), offender.bytes.data(), offender.length);
  told.length = sizeof(error) + offender.length;
  message.control.error = told;
  message.source = address_of(queued.destination, family());
  message.result_flags |= MessageFlags::kErrorQueue;
  if (count < payload.size()) message.result_flags |= MessageFlags::kTruncated;
  return count;
}

ARIL_ONLY_FOR(ioctl)
Result<int64_t> DatagramFile::ioctl(uint32_t request, uint64_t argument) {
  if (request != kFionread && request != kSiocOutq)
    return interface_ioctl(runtime_, request, argument);
  size_t value = 0;
  if (request == kFionread) {
    Runtime::Guard guard(runtime_);
    value = handle_->next_datagram_size();
  }
  ARIL_TRY(UserPtr<int32_t>(argument).write(static_cast<int32_t>(value)));
  return 0;
}

Errno DatagramFile::take_error() {
  Runtime::Guard guard(runtime_);
  auto taken = handle_->take_error();
  return taken ? Errno{} : taken.error();
}

}  // namespace aril::net
