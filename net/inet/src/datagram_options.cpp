#include <algorithm>

#include "base/endian.hpp"
#include "base/image_use.hpp"
#include "datagram_file.hpp"
#include "net/socket/option_names.hpp"

namespace aril::net {

namespace {

/// struct ip_mreqn; struct ip_mreq is its beginning.
struct InterfaceRequest {
  Be<uint32_t> group;
  Be<uint32_t> local;
  int32_t interface = 0;
};

/// An interface by index, or by one of its addresses; 0 for neither. kInval, kAddrNotAvail.
Result<uint32_t> chosen_interface(IpLayer& ip, int32_t index, IpAddress address) {
  if (index != 0) {
    if (ip.interface(static_cast<uint32_t>(index)) == nullptr) return fail(Errno::kNoDev);
    return static_cast<uint32_t>(index);
  }
  if (address.is_unspecified()) return 0;
  for (uint32_t i = 1; i <= ip.interface_count(); ++i)
    if (ip.interface(i)->has_address(address)) return i;
  return fail(Errno::kAddrNotAvail);
}

/// struct in_addr, ip_mreq or ip_mreqn.
Result<uint32_t> chosen_interface(IpLayer& ip, std::span<const std::byte> value) {
  InterfaceRequest request;
  if (value.size() >= 8) {
    memcpy(&request, value.data(), std::min(value.size(), sizeof(request)));
  } else if (value.size() >= 4) {
    memcpy(&request.local, value.data(), 4);
  } else {
    return fail(Errno::kInval);
  }
  return chosen_interface(ip, request.interface, IpAddress::v4(request.local.get()));
}

}  // namespace

template <typename Change>
Result<void> DatagramFile::change_options(Change change) {
  Runtime::Guard guard(runtime_);
  DatagramOptions options = handle_->options();
  change(options);
  return handle_->set_options(options);
}

Result<void> DatagramFile::apply_options() {
  return change_options([&](DatagramOptions& udp) {
    udp.broadcast = options_.broadcast;
    udp.reuse_address = options_.reuse_address;
    udp.reuse_port = options_.reuse_port;
    if (options_.send_buffer != 0) udp.send_buffer = options_.send_buffer;
    if (options_.receive_buffer != 0) udp.receive_buffer = options_.receive_buffer;
    udp.interface = options_.interface;
  });
}

Result<void> DatagramFile::set_protocol_option(int level, int name,
                                               std::span<const std::byte> value) {
  if (level == SOL_SOCKET && name == SO_BINDTODEVICE) {
    options_.interface = ARIL_TRY(interface_index(value));
    return apply_options();
  }
  if (level == SOL_IP && ARIL_HAS_USE(ip_options)) return set_ip_option(name, value);
  if (raw_ != nullptr && (level == SOL_RAW || level == SOL_ICMPV6))
    return set_raw_option(level, name, value);
  if (raw_ == nullptr && level == SOL_UDP) return set_udp_option(name, value);
  if (level == SOL_IPV6 && family() == Family::kInet6) return set_ipv6_option(name, value);
  return fail(Errno::kNoProtoOpt);
}

ARIL_ONLY_FOR(getsockopt)
Result<OptionValue> DatagramFile::get_protocol_option(int level, int name) {
  if (level == SOL_SOCKET && name == SO_BINDTODEVICE) return interface_name();
  if (level == SOL_IP) return get_ip_option(name);
  if (raw_ != nullptr && (level == SOL_RAW || level == SOL_ICMPV6))
    return get_raw_option(level, name);
  if (raw_ == nullptr && level == SOL_UDP) return get_udp_option(name);
  if (level == SOL_IPV6 && family() == Family::kInet6) return get_ipv6_option(name);
  return fail(Errno::kNoProtoOpt);
}

ARIL_ONLY_FOR(ip_options)
Result<void> DatagramFile::set_ip_option(int name, std::span<const std::byte> value) {
  if (ARIL_HAS_USE(group_options) && (name == IP_ADD_MEMBERSHIP || name == IP_DROP_MEMBERSHIP))
    return change_ipv4_membership(name, value);
  if (ARIL_HAS_USE(group_options) && name >= IP_UNBLOCK_SOURCE && name <= MCAST_MSFILTER)
    return change_membership(Family::kInet, name, value);
  if (name == IP_MULTICAST_IF) {
    Runtime::Guard guard(runtime_);
    DatagramOptions options = handle_->options();
    options.multicast_interface_v4 = ARIL_TRY(chosen_interface(guard->ip(), value));
    return handle_->set_options(options);
  }
  int32_t number;
  if (value.size() >= sizeof(int32_t)) {
    number = ARIL_TRY(option_int(value));
  } else if (!value.empty()) {
    number = std::to_integer<uint8_t>(value[0]);
  } else {
    return fail(Errno::kInval);
  }
  bool on = number != 0;
  switch (name) {
    case IP_PKTINFO:
      packet_info_ = on;
      return {};
    case IP_RECVTTL:
      receive_ttl_ = on;
      return {};
    case IP_RECVTOS:
      receive_tos_ = on;
      return {};
    case IP_TOS:
      return change_options(
          [&](DatagramOptions& udp) { udp.type_of_service = static_cast<uint8_t>(number); });
    case IP_TTL:
      if (number == -1) number = 64;
      if (number < 1 || number > 255) return fail(Errno::kInval);
      return change_options(
          [&](DatagramOptions& udp) { udp.time_to_live = static_cast<uint8_t>(number); });
    case IP_MULTICAST_TTL:
      if (number == -1) number = 1;
      if (number < 0 || number > 255) return fail(Errno::kInval);
      return change_options(
          [&](DatagramOptions& udp) { udp.multicast_time_to_live = static_cast<uint8_t>(number); });
    case IP_MULTICAST_LOOP:
      return change_options([&](DatagramOptions& udp) { udp.multicast_loop = on; });
    case IP_RECVERR:
      return change_options([&](DatagramOptions& udp) { udp.receive_errors = on; });
    case IP_MTU_DISCOVER:
      if (number < 0 || number > 5) return fail(Errno::kInval);
      // IP_PMTUDISC_DO and IP_PMTUDISC_PROBE forbid fragments.
      return change_options(
          [&](DatagramOptions& udp) { udp.dont_fragment = number == 2 || number == 3; });
    case IP_MULTICAST_ALL:
      return change_options([&](DatagramOptions& udp) { udp.multicast_all = on; });
    case IP_HDRINCL: {
      if (raw_ == nullptr || raw_->kind() != RawKind::kRaw) return fail(Errno::kNoProtoOpt);
      Runtime::Guard guard(runtime_);
      RawOptions options = raw_->raw_options();
      options.includes_header = on;
      return raw_->set_raw_options(options);
    }
    case IP_FREEBIND:
    case IP_BIND_ADDRESS_NO_PORT:
      return {};
    default:
      return fail(Errno::kNoProtoOpt);
  }
}

Result<OptionValue> DatagramFile::get_ip_option(int name) {
  auto number = [](int32_t value) { return OptionValue::of(value); };
  Runtime::Guard guard(runtime_);
  const DatagramOptions& udp = handle_->options();
  switch (name) {
    case IP_PKTINFO:
      return number(packet_info_);
    case IP_RECVTTL:
      return number(receive_ttl_);
    case IP_RECVTOS:
      return number(receive_tos_);
    case IP_TOS:
      return number(udp.type_of_service);
    case IP_TTL:
      return number(udp.time_to_live);
    case IP_MULTICAST_TTL:
      return number(udp.multicast_time_to_live);
    case IP_MULTICAST_LOOP:
      return number(udp.multicast_loop);
    case IP_RECVERR:
      return number(udp.receive_errors);
    case IP_MTU_DISCOVER:
      return number(udp.dont_fragment ? 2 : 0);
    case IP_MULTICAST_IF: {
      // [ip(7)] The address, not the index.
      const Interface* chosen = guard->ip().interface(udp.multicast_interface_v4);
      Be<uint32_t> address = chosen != nullptr && !chosen->addresses().empty()
                                 ? chosen->addresses()[0].address.v4_value()
                                 : 0u;
      return OptionValue::of(address);
    }
    case IP_HDRINCL:
      if (raw_ == nullptr) return fail(Errno::kNoProtoOpt);
      return number(raw_->raw_options().includes_header);
    case IP_MTU: {
      Endpoint remote = ARIL_TRY(handle_->remote());
      Route route = ARIL_TRY(guard->ip().route(remote.address, {}, remote.scope));
      return number(static_cast<int32_t>(guard->ip().path_mtu(route, remote.address)));
    }
    case IP_FREEBIND:
    case IP_BIND_ADDRESS_NO_PORT:
      return number(0);
    case IP_MULTICAST_ALL:
      return number(udp.multicast_all);
    case IP_OPTIONS:
      return OptionValue{};
    default:
      return fail(Errno::kNoProtoOpt);
  }
}

Result<void> DatagramFile::set_raw_option(int level, int name, std::span<const std::byte> value) {
  Runtime::Guard guard(runtime_);
  RawOptions options = raw_->raw_options();
  if (level == SOL_RAW && name == ICMP_FILTER && family() == Family::kInet) {
    if (value.size() < sizeof(options.icmp_filter)) return fail(Errno::kInval);
    memcpy(&options.icmp_filter, value.data(), sizeof(options.icmp_filter));
  } else if (level == SOL_ICMPV6 && name == ICMPV6_FILTER && family() == Family::kInet6) {
    memcpy(options.icmpv6_filter.data(), value.data(),
           std::min(value.size(), sizeof(options.icmpv6_filter)));
  } else if (level == SOL_RAW && name == IPV6_CHECKSUM && family() == Family::kInet6) {
    if (raw_->protocol() == kIpProtocolIcmpv6) return fail(Errno::kInval);  // [RFC 3542] 3.1
    options.checksum_offset = ARIL_TRY(option_int(value));
  } else {
    return fail(Errno::kNoProtoOpt);
  }
  return raw_->set_raw_options(options);
}

Result<OptionValue> DatagramFile::get_raw_option(int level, int name) {
  Runtime::Guard guard(runtime_);
  const RawOptions& options = raw_->raw_options();
  if (level == SOL_RAW && name == ICMP_FILTER && family() == Family::kInet)
    return OptionValue::of(options.icmp_filter);
  if (level == SOL_ICMPV6 && name == ICMPV6_FILTER && family() == Family::kInet6)
    return OptionValue::of(options.icmpv6_filter);
  if (level == SOL_RAW && name == IPV6_CHECKSUM && family() == Family::kInet6)
    return OptionValue::of(int32_t{options.checksum_offset});
  return fail(Errno::kNoProtoOpt);
}

Result<void> DatagramFile::set_udp_option(int name, std::span<const std::byte> value) {
  int32_t number = ARIL_TRY(option_int(value));
  switch (name) {
    case UDP_SEGMENT:
      if (number < 0 || number > 0xffff) return fail(Errno::kInval);
      return change_options(
          [&](DatagramOptions& udp) { udp.segment_size = static_cast<uint16_t>(number); });
    case UDP_GRO:
      return change_options([&](DatagramOptions& udp) { udp.join_segments = number != 0; });
    default:
      return fail(Errno::kNoProtoOpt);
  }
}

Result<OptionValue> DatagramFile::get_udp_option(int name) {
  Runtime::Guard guard(runtime_);
  switch (name) {
    case UDP_SEGMENT:
      return OptionValue::of(int32_t{handle_->options().segment_size});
    case UDP_GRO:
      return OptionValue::of(int32_t{handle_->options().join_segments});
    default:
      return fail(Errno::kNoProtoOpt);
  }
}

}  // namespace aril::net
