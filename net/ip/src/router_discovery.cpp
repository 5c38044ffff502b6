// Router Discovery [RFC 4861] 6.3 and stateless address autoconfiguration [RFC 4862] 5.5; and the
// one timer of everything in IPv6 that ends or is repeated.
#include <algorithm>

#include "net/ip/ip_layer.hpp"

namespace aril::net {
namespace {

constexpr uint8_t kMaxSolicitations = 3;                          // [RFC 4861] 10
constexpr Duration kSolicitationInterval = Duration::seconds(4);  // the same
constexpr Duration kLongestTimer = Duration::seconds(3600);
constexpr uint32_t kShortenedLifetime = 2 * 3600;  // seconds [RFC 4862] 5.5.3 (e)

Instant end_of(Instant now, uint32_t seconds) {
  return seconds == ~0u ? Instant::never() : now + Duration::seconds(seconds);
}

}  // namespace

Result<void> IpLayer::enable_ipv6(Interface& interface) {
  if (interface.is_loopback()) return fail(Errno::kInval);
  // The stack has no secret that outlives the machine, which [RFC 7217] would need.
  IpAddress own =
      IpAddress::v6(kLinkLocalNetwork.high(), interface_identifier(interface.hardware()));
  ARIL_TRY(add_ipv6_address(interface, {.address = own, .prefix_length = 64}));
  interface.solicitations_left_ = kMaxSolicitations;
  send_router_solicitation(interface);
  return {};
}

void IpLayer::send_router_solicitation(Interface& interface) {
  IpAddress source = IpAddress::v6(0, 0);
  for (const Ipv6InterfaceAddress& own : interface.ipv6_addresses())
    if (own.address.is_link_local()) source = own.address;
  // Without its source's hardware address: it may be optimistic, and routers answer to all.
  IcmpHeader message{.type = Icmpv6::kRouterSolicitation, .code = 0, .checksum = 0, .rest = 0u};
  send_icmpv6({&interface, source, kAllRouters, true}, kAllRouters, 255,
              std::as_bytes(std::span(&message, 1)), {});
  bool is_last = --interface.solicitations_left_ == 0;
  interface.next_solicitation_ = is_last ? Instant::never() : context_.now + kSolicitationInterval;
  if (!is_last) arm_ipv6_timer(interface.next_solicitation_);
}

void IpLayer::receive_router_advertisement(const IpPacketInfo& info,
                                           std::span<const std::byte> bytes) {
  Interface& interface = *info.interface;
  auto told = RouterAdvertisement::parse(bytes);
  // [RFC 4861] 6.1.2. An interface that IPv6 was not enabled on asked nobody.
  if (!told || !info.source.is_link_local() || interface.ipv6_addresses().empty() ||
      interface.is_loopback())
    return context_.counters.drop(DropReason::kBadNdp);
  interface.solicitations_left_ = 0;
  interface.next_solicitation_ = Instant::never();
  if (told->hop_limit != 0) interface.hop_limit_ = told->hop_limit;
  if (told->mtu >= kMinIpv6Mtu && told->mtu <= interface.mtu()) interface.ipv6_mtu_ = told->mtu;
  if (told->link_address) neighbours_.heard_of(interface, info.source, *told->link_address);
  set_advertised_route({.network = IpAddress::v6(0, 0),
                        .prefix_length = 0,
                        .gateway = info.source,
                        .interface = &interface,
                        .source = IpAddress::v6(0, 0)},
                       told->router_lifetime);
  for (size_t i = 0; i < told->prefix_count; ++i) take_prefix(interface, told->prefixes[i]);
  learn_name_servers(interface, std::span(told->servers).first(told->server_count),
                     told->server_lifetime);
  if (told->is_managed) {
    tell(interface, Ipv6Event::kManagedAddresses, info.source);
  } else if (told->has_other) {
    tell(interface, Ipv6Event::kOtherConfiguration, info.source);
  }
}

void IpLayer::set_advertised_route(const RouteEntry& wanted, uint32_t lifetime) {
  size_t count = 0;
  for (size_t i = 0; i < route_count_; ++i) {
    RouteEntry& entry = routes_[i];
    count += entry.is_advertised && entry.interface == wanted.interface ? 1 : 0;
    if (entry.network != wanted.network || entry.prefix_length != wanted.prefix_length ||
        entry.interface != wanted.interface || entry.gateway != wanted.gateway)
      continue;
    if (!entry.is_advertised) return;  // what was configured by hand stays
    if (lifetime == 0) return remove_route(wanted);
    entry.expiry = end_of(context_.now, lifetime);
    return arm_ipv6_timer(entry.expiry);
  }
  if (lifetime == 0) return;
  RouteEntry added = wanted;
  added.is_advertised = true;
  added.expiry = end_of(context_.now, lifetime);
  if (count >= kMaxAdvertisedRoutes || !add_route(added))
    return context_.counters.drop(DropReason::kRouterLimit);
  arm_ipv6_timer(added.expiry);
}

// [RFC 4862] 5.5.3
void IpLayer::take_prefix(Interface& interface, const RouterAdvertisement::Prefix& prefix) {
  if (prefix.is_on_link)
    set_advertised_route({.network = prefix.network,
                          .prefix_length = prefix.length,
                          .gateway = IpAddress::v6(0, 0),
                          .interface = &interface,
                          .source = IpAddress::v6(0, 0)},
                         prefix.valid);
  if (!prefix.is_autonomous || prefix.length != 64) return;
  IpAddress address =
      IpAddress::v6(prefix.network.high(), interface_identifier(interface.hardware()));
  uint32_t valid = prefix.valid;
  for (const Ipv6InterfaceAddress& own : interface.ipv6_addresses()) {
    // (e): a forged advertisement must not end it at once.
    if (own.address != address || end_of(context_.now, valid) >= own.valid_until) continue;
    valid = std::max(valid, kShortenedLifetime);
    if (end_of(context_.now, valid) >= own.valid_until) return;
  }
  if (valid != 0) learn_address(interface, address, 64, prefix.preferred, valid);
}

void IpLayer::learn_address(Interface& interface, IpAddress address, uint8_t prefix_length,
                            uint32_t preferred, uint32_t valid) {
  Instant preferred_until = end_of(context_.now, preferred);
  Instant valid_until = end_of(context_.now, valid);
  for (Ipv6InterfaceAddress& own :
       std::span(interface.ipv6_addresses_).first(interface.ipv6_address_count_)) {
    if (own.address != address) continue;
    if (!own.is_autoconfigured) return;
    own.preferred_until = preferred_until;
    own.valid_until = valid_until;
    return arm_ipv6_timer(valid_until);
  }
  auto added = add_ipv6_address(interface, {.address = address,
                                            .prefix_length = prefix_length,
                                            .is_autoconfigured = true,
                                            .preferred_until = preferred_until,
                                            .valid_until = valid_until});
  if (!added) return context_.counters.drop(DropReason::kRouterLimit);
  arm_ipv6_timer(valid_until);
  tell(interface, Ipv6Event::kAddressAdded, address);
}

void IpLayer::forget_address(Interface& interface, IpAddress address) {
  if (std::ranges::find(interface.ipv6_addresses(), address, &Ipv6InterfaceAddress::address) ==
      interface.ipv6_addresses().end())
    return;
  remove_address(interface, address);
  tell(interface, Ipv6Event::kAddressExpired, address);
}

// [RFC 8106] 5.3
void IpLayer::learn_name_servers(Interface& interface, std::span<const IpAddress> servers,
                                 uint32_t lifetime) {
  if (servers.empty()) return;
  Instant expiry = end_of(context_.now, lifetime);
  auto* list = interface.name_servers_.data();
  bool changed = false;
  for (IpAddress server : servers) {
    auto* end = list + interface.name_server_count_;
    auto* known =
        std::find_if(list, end, [&](const auto& entry) { return entry.address == server; });
    if (known != end && lifetime != 0) {
      known->expiry = expiry;
    } else if (known != end) {
      std::copy(known + 1, end, known);
      --interface.name_server_count_;
      changed = true;
    } else if (lifetime != 0 && interface.name_server_count_ < Interface::kMaxNameServers) {
      list[interface.name_server_count_++] = {server, expiry};
      changed = true;
    }
  }
  arm_ipv6_timer(expiry);
  if (changed) tell(interface, Ipv6Event::kNameServers, servers[0]);
}

void IpLayer::arm_ipv6_timer(Instant deadline) {
  if (deadline == Instant::never()) return;
  context_.timers.arm_by(ipv6_timer_, std::min(deadline, context_.now + kLongestTimer));
}

void IpLayer::on_ipv6_timer() {
  Instant next = Instant::never();
  remove_routes([this](const RouteEntry& route) { return route.expiry <= context_.now; });
  for (const RouteEntry& route : routes()) next = std::min(next, route.expiry);
  for (uint32_t i = 1; i < interface_count_; ++i) run_ipv6_timers(*interfaces_[i], next);
  arm_ipv6_timer(next);
}

void IpLayer::run_ipv6_timers(Interface& interface, Instant& next) {
  for (size_t i = 0; i < interface.ipv6_address_count_;) {
    Ipv6InterfaceAddress& own = interface.ipv6_addresses_[i];
    if (own.valid_until <= context_.now) {
      IpAddress expired = own.address;
      remove_address(interface, expired);
      tell(interface, Ipv6Event::kAddressExpired, expired);
      continue;
    }
    if (own.is_optimistic && own.probe_end <= context_.now) {
      own.is_optimistic = false;
      changed(interface, own, Presence::kThere);
    }
    next = std::min({next, own.valid_until, own.is_optimistic ? own.probe_end : Instant::never()});
    ++i;
  }
  if (interface.next_solicitation_ <= context_.now) send_router_solicitation(interface);
  run_group_timers(interface, next);
  auto* servers = interface.name_servers_.data();
  auto* servers_end = servers + interface.name_server_count_;
  auto* kept = std::remove_if(servers, servers_end,
                              [&](const auto& server) { return server.expiry <= context_.now; });
  if (kept != servers_end) {
    interface.name_server_count_ = static_cast<uint8_t>(kept - servers);
    tell(interface, Ipv6Event::kNameServers, IpAddress::v6(0, 0));
  }
  for (const auto& server : interface.name_servers()) next = std::min(next, server.expiry);
  next = std::min(next, interface.next_solicitation_);
}

}  // namespace aril::net
