#include "base/endian.hpp"
#include "net/socket/option_names.hpp"
#include "udp_file.hpp"

namespace aril::net {

namespace {

/// struct ip_mreqn; struct ip_mreq is its beginning.
struct GroupRequest {
  Be<uint32_t> group;
  Be<uint32_t> local;
  int32_t interface = 0;
};

}  // namespace

template <typename Change>
Result<void> UdpFile::change_options(Change change) {
  Runtime::Guard guard(runtime_);
  UdpOptions options = handle_->options();
  change(options);
  return handle_->set_options(options);
}

Result<void> UdpFile::apply_options() {
  return change_options([&](UdpOptions& udp) {
    udp.broadcast = options_.broadcast;
    udp.reuse_address = options_.reuse_address;
    udp.reuse_port = options_.reuse_port;
    if (options_.send_buffer != 0) udp.send_buffer = options_.send_buffer;
    if (options_.receive_buffer != 0) udp.receive_buffer = options_.receive_buffer;
    udp.interface = options_.interface;
  });
}

Result<void> UdpFile::set_protocol_option(int level, int name, std::span<const std::byte> value) {
  if (level == SOL_SOCKET && name == SO_BINDTODEVICE) {
    options_.interface = ARIL_TRY(interface_index(value));
    return apply_options();
  }
  if (level == SOL_IP) return set_ip_option(name, value);
  if (level == SOL_IPV6 && family() == Family::kInet6) return set_ipv6_option(name, value);
  return fail(Errno::kNoProtoOpt);
}

Result<OptionValue> UdpFile::get_protocol_option(int level, int name) {
  if (level == SOL_SOCKET && name == SO_BINDTODEVICE) return interface_name();
  if (level == SOL_IP) return get_ip_option(name);
  if (level == SOL_IPV6 && family() == Family::kInet6) return get_ipv6_option(name);
  return fail(Errno::kNoProtoOpt);
}

Result<void> UdpFile::set_ip_option(int name, std::span<const std::byte> value) {
  if (name == IP_ADD_MEMBERSHIP || name == IP_DROP_MEMBERSHIP) {
    constexpr size_t kShortRequest = 8;
    if (value.size() < kShortRequest) return fail(Errno::kInval);
    GroupRequest request;
    memcpy(&request, value.data(), std::min(value.size(), sizeof(request)));
    Runtime::Guard guard(runtime_);
    IpAddress group = IpAddress::v4(request.group.get());
    auto interface = static_cast<uint32_t>(request.interface);
    return name == IP_ADD_MEMBERSHIP ? handle_->join_group(group, interface)
                                     : handle_->leave_group(group, interface);
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
          [&](UdpOptions& udp) { udp.type_of_service = static_cast<uint8_t>(number); });
    case IP_TTL:
      if (number == -1) number = 64;
      if (number < 1 || number > 255) return fail(Errno::kInval);
      return change_options(
          [&](UdpOptions& udp) { udp.time_to_live = static_cast<uint8_t>(number); });
    case IP_MULTICAST_TTL:
      if (number == -1) number = 1;
      if (number < 0 || number > 255) return fail(Errno::kInval);
      return change_options(
          [&](UdpOptions& udp) { udp.multicast_time_to_live = static_cast<uint8_t>(number); });
    case IP_MULTICAST_LOOP:
      return change_options([&](UdpOptions& udp) { udp.multicast_loop = on; });
    case IP_RECVERR:
      return change_options([&](UdpOptions& udp) { udp.receive_errors = on; });
    case IP_MTU_DISCOVER:
      if (number < 0 || number > 5) return fail(Errno::kInval);
      // IP_PMTUDISC_DO and IP_PMTUDISC_PROBE forbid fragments.
      return change_options(
          [&](UdpOptions& udp) { udp.dont_fragment = number == 2 || number == 3; });
    case IP_MULTICAST_IF:
    case IP_MULTICAST_ALL:
    case IP_FREEBIND:
    case IP_BIND_ADDRESS_NO_PORT:
      return {};
    default:
      return fail(Errno::kNoProtoOpt);
  }
}

Result<OptionValue> UdpFile::get_ip_option(int name) {
  auto number = [](int32_t value) { return OptionValue::of(value); };
  Runtime::Guard guard(runtime_);
  const UdpOptions& udp = handle_->options();
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
    case IP_MULTICAST_IF:
      return number(0);
    case IP_FREEBIND:
    case IP_BIND_ADDRESS_NO_PORT:
      return number(0);
    case IP_MULTICAST_ALL:
      return number(1);
    case IP_OPTIONS:
      return OptionValue{};
    default:
      return fail(Errno::kNoProtoOpt);
  }
}

}  // namespace aril::net
