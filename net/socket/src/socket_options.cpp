#include <algorithm>

#include "net/socket/option_names.hpp"
#include "net/socket/socket.hpp"

namespace aril::net {

namespace {

/// Linux's net.core.rmem_max and wmem_max, and its smallest buffers.
constexpr int32_t kMaxBuffer = 212992;
constexpr uint32_t kMinReceiveBuffer = 2304, kMinSendBuffer = 4608;

struct Linger {
  int32_t on;
  int32_t seconds;
};

struct KernelTimeval {
  int64_t seconds;
  int64_t microseconds;
};

template <typename T>
Result<T> option_value(std::span<const std::byte> value) {
  if (value.size() < sizeof(T)) return fail(Errno::kInval);
  T result;
  memcpy(&result, value.data(), sizeof(T));
  return result;
}

/// Doubled, as Linux does for its own bookkeeping and as programs expect to read it back.
uint32_t buffer_size(int32_t wanted, uint32_t minimum, bool forced) {
  if (!forced) wanted = std::clamp(wanted, 0, kMaxBuffer);
  wanted = std::clamp(wanted, 0, (1 << 30) - 1);
  return std::max(static_cast<uint32_t>(wanted) * 2, minimum);
}

Result<Duration> timeout_value(std::span<const std::byte> value) {
  auto time = ARIL_TRY(option_value<KernelTimeval>(value));
  if (time.microseconds < 0 || time.microseconds >= 1'000'000) return fail(Errno::kDom);
  // [Linux sock_set_timeout] a negative time is "do not wait": as short as can be.
  if (time.seconds < 0) return Duration{1};
  return Duration::seconds(time.seconds) + Duration::microseconds(time.microseconds);
}

/// struct sock_fprog.
struct FilterProgram {
  uint16_t length;
  uint64_t instructions;
};

Result<PacketFilter> read_filter(std::span<const std::byte> value) {
  auto program = ARIL_TRY(option_value<FilterProgram>(value));
  if (program.length == 0 || program.length > PacketFilter::kMaxLength) return fail(Errno::kInval);
  std::unique_ptr<FilterInstruction[]> instructions(new (std::nothrow)
                                                        FilterInstruction[program.length]);
  if (instructions == nullptr) return fail(Errno::kNoMem);
  std::span<FilterInstruction> span(instructions.get(), program.length);
  ARIL_TRY(UserPtr<FilterInstruction>(program.instructions).read_array(span));
  return PacketFilter::create(span, PacketFilter::Dialect::kSocket);
}

KernelTimeval to_timeval(Duration time) {
  return {time.ns / 1'000'000'000, time.ns % 1'000'000'000 / 1000};
}

}  // namespace

Result<int32_t> option_int(std::span<const std::byte> value) {
  return option_value<int32_t>(value);
}

Result<void> Socket::set_option(int level, int name, std::span<const std::byte> value) {
  if (level == SOL_SOCKET) return set_socket_option(name, value);
  return set_protocol_option(level, name, value);
}

Result<OptionValue> Socket::get_option(int level, int name, size_t room,
                                       std::span<const std::byte> given) {
  OptionValue value = ARIL_TRY(level == SOL_SOCKET ? get_socket_option(name)
                                                   : get_option_about(level, name, given));
  value.length = std::min(value.length, room);
  return value;
}

Result<void> Socket::set_protocol_option(int, int, std::span<const std::byte>) {
  return fail(Errno::kNoProtoOpt);
}

Result<OptionValue> Socket::get_option_about(int level, int name, std::span<const std::byte>) {
  return get_protocol_option(level, name);
}

Result<OptionValue> Socket::get_protocol_option(int, int) { return fail(Errno::kNoProtoOpt); }

Result<void> Socket::set_filter(std::optional<PacketFilter>) { return fail(Errno::kNoProtoOpt); }

Result<void> Socket::set_socket_option(int name, std::span<const std::byte> value) {
  switch (name) {
    case SO_LINGER: {
      auto linger = ARIL_TRY(option_value<Linger>(value));
      options_.linger = linger.on != 0;
      options_.linger_time = Duration::seconds(std::max(linger.seconds, 0));
      return apply_options();
    }
    case SO_RCVTIMEO:
    case SO_RCVTIMEO_NEW:
      options_.receive_timeout = ARIL_TRY(timeout_value(value));
      return {};
    case SO_SNDTIMEO:
    case SO_SNDTIMEO_NEW:
      options_.send_timeout = ARIL_TRY(timeout_value(value));
      return {};
    case SO_BINDTODEVICE:
      return set_protocol_option(SOL_SOCKET, name, value);
    case SO_ATTACH_FILTER:
      return set_filter(ARIL_TRY(read_filter(value)));
    case SO_DETACH_FILTER:
      return set_filter(std::nullopt);
    case SO_ATTACH_BPF:
    case SO_ATTACH_REUSEPORT_CBPF:
    case SO_ATTACH_REUSEPORT_EBPF:
      return fail(Errno::kNoProtoOpt);
    case SO_TYPE:
    case SO_PROTOCOL:
    case SO_DOMAIN:
    case SO_ERROR:
    case SO_ACCEPTCONN:
    case SO_PEERCRED:
    case SO_PEERNAME:
      return fail(Errno::kNoProtoOpt);
    default:
      break;
  }
  int32_t number = ARIL_TRY(option_int(value));
  bool on = number != 0;
  switch (name) {
    case SO_DEBUG:
    case SO_BSDCOMPAT:
    case SO_PASSSEC:
    case SO_RXQ_OVFL:
    case SO_INCOMING_CPU:
      return {};
    case SO_REUSEADDR:
      options_.reuse_address = on;
      break;
    case SO_REUSEPORT:
      options_.reuse_port = on;
      break;
    case SO_KEEPALIVE:
      options_.keep_alive = on;
      break;
    case SO_BROADCAST:
      options_.broadcast = on;
      break;
    case SO_OOBINLINE:
      options_.out_of_band_inline = on;
      break;
    case SO_DONTROUTE:
      options_.dont_route = on;
      break;
    case SO_NO_CHECK:
      options_.no_check = on;
      break;
    case SO_PASSCRED:
      options_.pass_credentials = on;
      break;
    case SO_ZEROCOPY:
      options_.zero_copy = on;
      break;
    case SO_TIMESTAMP:
      options_.timestamp = on;
      if (on) options_.timestamp_ns = false;
      break;
    case SO_TIMESTAMPNS:
      options_.timestamp_ns = on;
      if (on) options_.timestamp = false;
      break;
    case SO_PRIORITY:
      options_.priority = number;
      break;
    case SO_MARK:
      options_.mark = static_cast<uint32_t>(number);
      break;
    case SO_BUSY_POLL:
      options_.busy_poll = number;
      break;
    case SO_RCVLOWAT:
      options_.receive_low_water = std::max(number, 1);
      break;
    case SO_SNDBUF:
    case SO_SNDBUFFORCE:
      options_.send_buffer = buffer_size(number, kMinSendBuffer, name == SO_SNDBUFFORCE);
      break;
    case SO_RCVBUF:
    case SO_RCVBUFFORCE:
      options_.receive_buffer = buffer_size(number, kMinReceiveBuffer, name == SO_RCVBUFFORCE);
      break;
    default:
      return fail(Errno::kNoProtoOpt);
  }
  return apply_options();
}

Result<OptionValue> Socket::get_socket_option(int name) {
  auto number = [](int32_t value) { return OptionValue::of(value); };
  switch (name) {
    case SO_TYPE:
      return number(std::to_underlying(type_));
    case SO_DOMAIN:
      return number(std::to_underlying(family_));
    case SO_PROTOCOL:
      return number(protocol_);
    case SO_ERROR:
      return number(static_cast<int32_t>(take_error()));
    case SO_ACCEPTCONN:
      return number(is_listening());
    case SO_DEBUG:
    case SO_BSDCOMPAT:
    case SO_PASSSEC:
    case SO_RXQ_OVFL:
    case SO_INCOMING_NAPI_ID:
      return number(0);
    case SO_SNDLOWAT:
      return number(1);
    case SO_REUSEADDR:
      return number(options_.reuse_address);
    case SO_REUSEPORT:
      return number(options_.reuse_port);
    case SO_KEEPALIVE:
      return number(options_.keep_alive);
    case SO_BROADCAST:
      return number(options_.broadcast);
    case SO_OOBINLINE:
      return number(options_.out_of_band_inline);
    case SO_DONTROUTE:
      return number(options_.dont_route);
    case SO_NO_CHECK:
      return number(options_.no_check);
    case SO_PASSCRED:
      return number(options_.pass_credentials);
    case SO_ZEROCOPY:
      return number(options_.zero_copy);
    case SO_TIMESTAMP:
      return number(options_.timestamp);
    case SO_TIMESTAMPNS:
      return number(options_.timestamp_ns);
    case SO_PRIORITY:
      return number(options_.priority);
    case SO_MARK:
      return number(static_cast<int32_t>(options_.mark));
    case SO_BUSY_POLL:
      return number(options_.busy_poll);
    case SO_RCVLOWAT:
      return number(options_.receive_low_water);
    case SO_INCOMING_CPU:
      return number(0);
    case SO_PEEK_OFF:
      return number(-1);
    case SO_COOKIE:
      return OptionValue::of(inode_);
    case SO_SNDBUF:
      return number(static_cast<int32_t>(options_.send_buffer != 0 ? options_.send_buffer
                                                                   : default_buffer(true)));
    case SO_RCVBUF:
      return number(static_cast<int32_t>(options_.receive_buffer != 0 ? options_.receive_buffer
                                                                      : default_buffer(false)));
    case SO_LINGER:
      return OptionValue::of(
          Linger{options_.linger, static_cast<int32_t>(options_.linger_time.ns / 1'000'000'000)});
    case SO_RCVTIMEO:
    case SO_RCVTIMEO_NEW:
      return OptionValue::of(to_timeval(options_.receive_timeout));
    case SO_SNDTIMEO:
    case SO_SNDTIMEO_NEW:
      return OptionValue::of(to_timeval(options_.send_timeout));
    case SO_PEERNAME: {
      SocketAddress peer = ARIL_TRY(peer_address());
      return OptionValue::of(std::span<const std::byte>(peer.bytes).first(peer.length));
    }
    default:
      return get_protocol_option(SOL_SOCKET, name);
  }
}

bool Socket::is_long_option([[maybe_unused]] int level, [[maybe_unused]] int name) {
#ifdef ARIL_TINY
  return false;
#else
  return (level == SOL_IP && name == IP_MSFILTER) ||
         ((level == SOL_IP || level == SOL_IPV6) && name == MCAST_MSFILTER);
#endif
}

Result<size_t> Socket::get_option_in_place(int, int, std::span<std::byte>) {
  return fail(Errno::kNoProtoOpt);
}

}  // namespace aril::net
