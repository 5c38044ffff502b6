#include <algorithm>

#include "base/endian.hpp"
#include "base/image_use.hpp"
#include "datagram_file.hpp"
#include "net/socket/option_names.hpp"
#include "tcp_file.hpp"

/// The options of level IPPROTO_IPV6 [ipv6(7), RFC 3493, RFC 3542].
namespace aril::net {

namespace {

constexpr int32_t kDefaultHops = 64;  // what getsockopt shows when nobody chose

}  // namespace

Result<void> TcpFile::set_ipv6_option(int name, std::span<const std::byte> value) {
  int32_t number = ARIL_TRY(option_int(value));
  Runtime::Guard guard(runtime_);
  TcpOptions options = handle_->options();
  switch (name) {
    case IPV6_V6ONLY:
      // [Linux] What is bound already has its meaning.
      if (handle_->local().port != 0) return fail(Errno::kInval);
      options.v6_only = number != 0;
      break;
    case IPV6_UNICAST_HOPS:
      if (number == 0) return fail(Errno::kInval);
      options.hop_limit = static_cast<uint8_t>(ARIL_TRY(option_hops(number, 0)));
      break;
    case IPV6_TCLASS:
      options.traffic_class = static_cast<uint8_t>(ARIL_TRY(option_hops(number, 0)));
      break;
    case IPV6_MTU_DISCOVER:
    case IPV6_DONTFRAG:
    case IPV6_RECVERR:
    case IPV6_RECVPKTINFO:
    case IPV6_RECVHOPLIMIT:
    case IPV6_RECVTCLASS:
    case IPV6_AUTOFLOWLABEL:
    case IPV6_ADDR_PREFERENCES:
    case IPV6_FREEBIND:
      return {};
    default:
      return fail(Errno::kNoProtoOpt);
  }
  return handle_->set_options(options);
}

Result<OptionValue> TcpFile::get_ipv6_option(int name) {
  auto number = [](int32_t value) { return OptionValue::of(value); };
  Runtime::Guard guard(runtime_);
  const TcpOptions& options = handle_->options();
  switch (name) {
    case IPV6_V6ONLY:
      return number(options.v6_only);
    case IPV6_UNICAST_HOPS:
      return number(options.hop_limit != 0 ? options.hop_limit : kDefaultHops);
    case IPV6_TCLASS:
      return number(options.traffic_class);
    case IPV6_MTU:
      ARIL_TRY(handle_->remote());
      return number(static_cast<int32_t>(handle_->info().path_mtu));
    case IPV6_MTU_DISCOVER:
      return number(1);  // IPV6_PMTUDISC_WANT
    case IPV6_DONTFRAG:
    case IPV6_RECVERR:
    case IPV6_RECVPKTINFO:
    case IPV6_RECVHOPLIMIT:
    case IPV6_RECVTCLASS:
    case IPV6_ADDR_PREFERENCES:
    case IPV6_FREEBIND:
    case IPV6_AUTOFLOWLABEL:
      return number(0);
    default:
      return fail(Errno::kNoProtoOpt);
  }
}

Result<void> DatagramFile::set_ipv6_option(int name, std::span<const std::byte> value) {
  if (ARIL_HAS_USE(group_options) && (name == IPV6_ADD_MEMBERSHIP || name == IPV6_DROP_MEMBERSHIP))
    return change_ipv6_membership(name, value);
  if (ARIL_HAS_USE(group_options) && name >= MCAST_JOIN_GROUP && name <= MCAST_MSFILTER)
    return change_membership(Family::kInet6, name, value);
  if (raw_ != nullptr && name == IPV6_CHECKSUM) return set_raw_option(SOL_RAW, name, value);
  int32_t number = ARIL_TRY(option_int(value));
  bool on = number != 0;
  Runtime::Guard guard(runtime_);
  DatagramOptions options = handle_->options();
  switch (name) {
    case IPV6_RECVPKTINFO:
      ipv6_packet_info_ = on;
      return {};
    case IPV6_RECVHOPLIMIT:
      receive_hop_limit_ = on;
      return {};
    case IPV6_RECVTCLASS:
      receive_traffic_class_ = on;
      return {};
    case IPV6_V6ONLY:
      if (handle_->local().port != 0) return fail(Errno::kInval);
      options.v6_only = on;
      break;
    case IPV6_UNICAST_HOPS:
      if (number == 0) return fail(Errno::kInval);
      options.hop_limit = static_cast<uint8_t>(ARIL_TRY(option_hops(number, 0)));
      break;
    case IPV6_MULTICAST_HOPS:
      options.multicast_hop_limit = static_cast<uint8_t>(ARIL_TRY(option_hops(number, 1)));
      break;
    case IPV6_MULTICAST_LOOP:
      options.multicast_loop = on;
      break;
    case IPV6_MULTICAST_IF:
      if (number != 0 && guard->ip().interface(static_cast<uint32_t>(number)) == nullptr)
        return fail(Errno::kNoDev);
      options.multicast_interface = static_cast<uint32_t>(number);
      break;
    case IPV6_TCLASS:
      options.traffic_class = static_cast<uint8_t>(ARIL_TRY(option_hops(number, 0)));
      break;
    case IPV6_RECVERR:
      options.receive_errors = on;
      break;
    case IPV6_DONTFRAG:
      options.ipv6_dont_fragment = on;
      break;
    case IPV6_MTU_DISCOVER:
      if (number < 0 || number > 5) return fail(Errno::kInval);
      options.ipv6_dont_fragment = number == 2 || number == 3;
      break;
    case IPV6_AUTOFLOWLABEL:
    case IPV6_ADDR_PREFERENCES:
    case IPV6_FREEBIND:
      return {};
    case IPV6_MULTICAST_ALL:
      options.ipv6_multicast_all = on;
      break;
    default:
      return fail(Errno::kNoProtoOpt);
  }
  return handle_->set_options(options);
}

Result<OptionValue> DatagramFile::get_ipv6_option(int name) {
  auto number = [](int64_t value) { return OptionValue::of(static_cast<int32_t>(value)); };
  Runtime::Guard guard(runtime_);
  const DatagramOptions& options = handle_->options();
  switch (name) {
    case IPV6_RECVPKTINFO:
      return number(ipv6_packet_info_);
    case IPV6_RECVHOPLIMIT:
      return number(receive_hop_limit_);
    case IPV6_RECVTCLASS:
      return number(receive_traffic_class_);
    case IPV6_V6ONLY:
      return number(options.v6_only);
    case IPV6_UNICAST_HOPS:
      return number(options.hop_limit != 0 ? options.hop_limit : kDefaultHops);
    case IPV6_MULTICAST_HOPS:
      return number(options.multicast_hop_limit);
    case IPV6_MULTICAST_LOOP:
      return number(options.multicast_loop);
    case IPV6_MULTICAST_IF:
      return number(options.multicast_interface);
    case IPV6_TCLASS:
      return number(options.traffic_class);
    case IPV6_RECVERR:
      return number(options.receive_errors);
    case IPV6_DONTFRAG:
      return number(options.ipv6_dont_fragment);
    case IPV6_MTU_DISCOVER:
      return number(options.ipv6_dont_fragment ? 2 : 1);
    case IPV6_MTU: {
      Endpoint remote = ARIL_TRY(handle_->remote());
      Route route = ARIL_TRY(guard->ip().route(remote.address, {}, remote.scope));
      return number(guard->ip().path_mtu(route, remote.address));
    }
    case IPV6_AUTOFLOWLABEL:
    case IPV6_ADDR_PREFERENCES:
    case IPV6_FREEBIND:
      return number(0);
    case IPV6_MULTICAST_ALL:
      return number(options.ipv6_multicast_all);
    default:
      return fail(Errno::kNoProtoOpt);
  }
}

}  // namespace aril::net
