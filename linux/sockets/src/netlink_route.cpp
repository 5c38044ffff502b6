#include <algorithm>

#include "linux/process/process.hpp"
#include "netlink_socket.hpp"

/// NETLINK_ROUTE [rtnetlink(7)]: answers the dumps of links, addresses and routes that
/// getifaddrs(3), if_nameindex(3) and `ip` ask for, changes addresses and routes, and tells of such
/// changes.
namespace aril::linux_abi::netlink {

namespace {

// RTNLGRP_*
constexpr unsigned kLinks = 1, kNeighbours = 3, kIpv4Addresses = 5, kIpv4Routes = 7,
                   kIpv6Addresses = 9, kIpv6Routes = 11;

class RouteSocket final : public NetlinkSocket, private net::ChangeObserver {
 public:
  using NetlinkSocket::NetlinkSocket;
  ~RouteSocket() override {
    if (observed_ == nullptr) return;
    net::Runtime::Guard guard(runtime_);
    observed_->remove_observer(*this);
  }

 private:
  /// Who has once been a member goes on observing: notify() asks whether it still is.
  void groups_changed() override {
    if (groups() == 0) return;
    net::Runtime::Guard guard(runtime_);
    if (observed_ != nullptr) return;
    observed_ = &guard->ip();
    observed_->add_observer(*this);
  }

  /// `describe` writes the message.
  template <typename Describe>
  void tell(unsigned group, net::Presence presence, Describe describe) {
    if ((groups() >> (group - 1) & 1) == 0) return;
    net::ChangeOrigin origin = observed_->change_origin();
    AnswerWriter out(origin.sequence, origin.port, presence);
    describe(out);
    notify(group, out.take());
  }
  void link_changed(const net::Interface& interface) override {
    tell(kLinks, net::Presence::kThere,
         [&](AnswerWriter& out) { describe_link(out, interface, 0); });
  }
  void address_changed(const net::Interface& interface, const net::InterfaceAddress& address,
                       net::Presence presence) override {
    tell(kIpv4Addresses, presence,
         [&](AnswerWriter& out) { describe_address(out, interface, address, 0); });
  }
  void address_changed(const net::Interface& interface, const net::Ipv6InterfaceAddress& address,
                       net::Presence presence) override {
    tell(kIpv6Addresses, presence, [&](AnswerWriter& out) {
      describe_address(out, interface, address, observed_->context().now, 0);
    });
  }
  void route_changed(const net::RouteEntry& route, net::Presence presence) override {
    tell(route.network.is_v4() ? kIpv4Routes : kIpv6Routes, presence,
         [&](AnswerWriter& out) { describe_route(out, route, 0); });
  }
  void neighbour_changed(const net::NeighbourView& neighbour, net::Presence presence) override {
    tell(kNeighbours, presence, [&](AnswerWriter& out) { describe_neighbour(out, neighbour, 0); });
  }

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
    net::ChangeOrigin origin{.sequence = request.sequence, .port = port()};
    net::Runtime::Guard guard(runtime_);
    if (!is_change) return look_up(guard->ip(), request.type, body, out);
    guard->ip().set_change_origin(origin);
    Result<void> outcome = change(guard->ip(), request.type, body);
    guard->ip().set_change_origin({});
    return outcome;
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

  net::IpLayer* observed_ = nullptr;  ///< once it has been a member of a group
};

}  // namespace

Result<RefPtr<net::Socket>> create_route_socket(net::Runtime& runtime, net::SocketType type,
                                                OpenFlags flags) {
  return ARIL_TRY(try_make_ref<RouteSocket>(runtime, type, 0, flags));
}

}  // namespace aril::linux_abi::netlink
