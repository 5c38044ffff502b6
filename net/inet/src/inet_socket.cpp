#include "net/inet/inet_socket.hpp"

#include <algorithm>

#include "base/endian.hpp"
#include "inet_base.hpp"

namespace aril::net {

namespace {

/// struct sockaddr_in.
struct SockaddrIn {
  uint16_t family;
  Be<uint16_t> port;
  Be<uint32_t> address;
  uint8_t zero[8];
};
static_assert(sizeof(SockaddrIn) == 16);

/// struct sockaddr_in6.
struct SockaddrIn6 {
  uint16_t family;
  Be<uint16_t> port;
  Be<uint32_t> flow;
  Be<uint64_t> high, low;
  uint32_t scope;

  static constexpr size_t kShortLength = 24;  // [RFC 2133]: without the scope
};
static_assert(sizeof(SockaddrIn6) == 28);

Result<Endpoint> endpoint_of_ipv6(const SocketAddress& address) {
  if (address.length < SockaddrIn6::kShortLength) return fail(Errno::kInval);
  SockaddrIn6 in{};
  memcpy(&in, address.bytes.data(), std::min<size_t>(address.length, sizeof(in)));
  if (in.family != std::to_underlying(Family::kInet6)) return fail(Errno::kAfNoSupport);
  Endpoint endpoint{IpAddress::v6(in.high, in.low), in.port.get()};
  // No machine has so many interfaces: an unknown one is refused where it is used.
  if (endpoint.address.needs_scope())
    endpoint.scope = static_cast<uint16_t>(std::min<uint32_t>(in.scope, 0xffff));
  return endpoint;
}

Result<RefPtr<Socket>> create_raw(Runtime& runtime, Family family, SocketType type, int protocol,
                                  OpenFlags flags) {
  if (g_create_raw_socket == nullptr) return fail(Errno::kProtoNoSupport);
  return g_create_raw_socket(runtime, family, type, protocol, flags);
}

}  // namespace

constinit decltype(&create_raw_socket) g_create_raw_socket = nullptr;

Result<Endpoint> endpoint_of(const SocketAddress& address, Family family) {
  if (family == Family::kInet6) return endpoint_of_ipv6(address);
  if (address.length < sizeof(SockaddrIn)) return fail(Errno::kInval);
  SockaddrIn in;
  memcpy(&in, address.bytes.data(), sizeof(in));
  if (in.family != std::to_underlying(Family::kInet)) return fail(Errno::kAfNoSupport);
  return Endpoint{IpAddress::v4(in.address.get()), in.port.get()};
}

SocketAddress address_of(const Endpoint& endpoint, Family family) {
  if (family == Family::kInet6) {
    SockaddrIn6 in{.family = std::to_underlying(Family::kInet6),
                   .port = endpoint.port,
                   .flow = 0u,
                   .high = endpoint.address.high(),
                   .low = endpoint.address.low(),
                   .scope = endpoint.scope};
    SocketAddress address;
    address.length = sizeof(in);
    memcpy(address.bytes.data(), &in, sizeof(in));
    return address;
  }
  SockaddrIn in{};
  in.family = std::to_underlying(Family::kInet);
  in.port = endpoint.port;
  in.address = endpoint.address.is_v4() ? endpoint.address.v4_value() : 0;
  SocketAddress address;
  address.length = sizeof(in);
  memcpy(address.bytes.data(), &in, sizeof(in));
  return address;
}

Result<RefPtr<Socket>> create_inet_socket(Runtime& runtime, Family family, SocketType type,
                                          int protocol, OpenFlags flags) {
  switch (type) {
    case SocketType::kStream:
      if (protocol != 0 && protocol != kIpProtocolTcp) return fail(Errno::kProtoNoSupport);
      return create_tcp_socket(runtime, family, flags);
    case SocketType::kDatagram:
      if (protocol == (family == Family::kInet6 ? kIpProtocolIcmpv6 : kIpProtocolIcmp))
        return create_raw(runtime, family, type, protocol, flags);
      if (protocol != 0 && protocol != kIpProtocolUdp) return fail(Errno::kProtoNoSupport);
      return create_udp_socket(runtime, family, flags);
    case SocketType::kRaw:
      if (protocol <= 0 || protocol > RawSocket::kRawProtocol) return fail(Errno::kProtoNoSupport);
      return create_raw(runtime, family, type, protocol, flags);
    default:
      return fail(Errno::kSockTNoSupport);
  }
}

Result<int32_t> option_hops(int32_t value, int32_t standard) {
  if (value < -1 || value > 255) return fail(Errno::kInval);
  return value == -1 ? standard : value;
}

Result<uint32_t> InetSocket::interface_index(std::span<const std::byte> name) {
  size_t length = std::min<size_t>(name.size(), 15);
  std::string_view text(reinterpret_cast<const char*>(name.data()), length);
  text = text.substr(0, text.find('\0'));
  if (text.empty()) return 0;
  Runtime::Guard guard(runtime_);
  const Interface* interface = guard->ip().interface(text);
  if (interface == nullptr) return fail(Errno::kNoDev);
  return interface->index();
}

Result<OptionValue> InetSocket::interface_name() {
  Runtime::Guard guard(runtime_);
  const Interface* interface = guard->ip().interface(options_.interface);
  if (interface == nullptr) return OptionValue{};
  char name[16] = {};
  interface->name().copy(name, sizeof(name) - 1);
  return OptionValue::of(std::as_bytes(std::span(name, interface->name().size() + 1)));
}

}  // namespace aril::net
