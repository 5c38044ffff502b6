#include <algorithm>

#include "linux/process/process.hpp"
#include "netlink_socket.hpp"

/// NETLINK_ROUTE [rtnetlink(7)]: answers the dumps of links, addresses and routes that
/// getifaddrs(3), if_nameindex(3) and `ip` ask for, and changes addresses and routes. There are no
/// notifications.
namespace aril::linux_abi::netlink {

namespace {

class RouteSocket final : public NetlinkSocket {
 public:
  using NetlinkSocket::NetlinkSocket;

 private:
  Result<void> answer(const NetlinkHeader& request, std::span<const std::byte> body) override {
    // The first byte of every request's body is the family that it is about; 0 is any.
    uint8_t family = body.empty() ? uint8_t{0} : std::to_integer<uint8_t>(body[0]);
    AnswerWriter out(request.sequence, port());
    bool dump = (request.flags & kDump) == kDump;
    if (dump && describe(request.type, family, out)) {
      ARIL_TRY(queue_answer(out.take()));
      return queue_done(request);
    }
    return conclude(request, serve(request, body, out), out);
  }

  Result<void> serve(const NetlinkHeader& request, std::span<const std::byte> body,
                     AnswerWriter& out) {
    if (request.type < kNewLink) return {};
    bool is_change = (request.type & 3) < 2;
    if (is_change && !current_task().credentials.can(Capability::kNetAdmin))
      return fail(Errno::kPerm);
    net::Runtime::Guard guard(runtime_);
    return is_change ? change(guard->ip(), request.type, body)
                     : look_up(guard->ip(), request.type, body, out);
  }

  bool describe(uint16_t type, uint8_t family, AnswerWriter& out) {
    bool with_v4 = family != kInet6, with_v6 = family != kInet;
    net::Runtime::Guard guard(runtime_);
    net::IpLayer& ip = guard->ip();
    if (type == kGetRoute) {
      for (const net::RouteEntry& route : ip.routes())
        if (route.network.is_v4() ? with_v4 : with_v6) describe_route(out, route);
      return true;
    }
    if (type == kGetNeighbour) {
      ip.neighbours().for_each([&](const net::Neighbours::View& neighbour) {
        if (neighbour.address.is_v4() ? with_v4 : with_v6) describe_neighbour(out, neighbour);
      });
      return true;
    }
    if (type != kGetLink && type != kGetAddress) return false;
    for (uint32_t i = 1; i <= ip.interface_count(); ++i) {
      const net::Interface& interface = *ip.interface(i);
      if (type == kGetLink) {
        describe_link(out, interface);
        continue;
      }
      if (with_v4)
        for (const net::InterfaceAddress& address : interface.addresses())
          describe_address(out, interface, address);
      if (!with_v6) continue;
      for (const net::Ipv6InterfaceAddress& address : interface.ipv6_addresses())
        describe_address(out, interface, address, ip.context().now);
    }
    return true;
  }
};

}  // namespace

Result<RefPtr<net::Socket>> create_route_socket(net::Runtime& runtime, net::SocketType type,
                                                OpenFlags flags) {
  return ARIL_TRY(try_make_ref<RouteSocket>(runtime, type, 0, flags));
}

}  // namespace aril::linux_abi::netlink
