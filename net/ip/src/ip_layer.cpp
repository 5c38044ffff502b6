#include "net/ip/ip_layer.hpp"

#include <algorithm>

namespace aril::net {
namespace {
constexpr uint32_t kLoopbackMtu = 16384 + sizeof(Ipv6Header) + kMaxTcpHeader;
}  // namespace

IpLayer::IpLayer(StackContext& context)
    : context_(context),
      neighbours_(context, *this),
      reassembly_(
          context,
          [](void* self, std::span<const std::byte> first) {
            auto* layer = static_cast<IpLayer*>(self);
            if (Ipv4View::parse_quoted(first))
              return layer->send_icmp_error(IcmpHeader::kTimeExceeded,
                                            IcmpHeader::kReassemblyTimeExceeded, first);
            // The interface only matters to a link-local sender, whose fragments are not kept long
            // enough to tell it.
            layer->send_icmpv6_error(*layer->interfaces_[0], Icmpv6::kTimeExceeded,
                                     Icmpv6::kReassemblyTimeExceeded, 0, first);
          },
          this),
      error_tokens_filled_(context.now),
      ipv6_timer_([](void* self) { static_cast<IpLayer*>(self)->on_ipv6_timer(); }, this) {
  for (uint16_t& value : identifications_) value = static_cast<uint16_t>(context.random());
}

IpLayer::~IpLayer() { context_.timers.cancel(ipv6_timer_); }

Result<void> IpLayer::initialize(Transport& tcp, Transport& udp) {
  tcp_ = &tcp;
  udp_ = &udp;
  InterfaceConfig config{.name = "lo", .mtu = kLoopbackMtu, .features = LinkFeatures::kChecksum};
  Interface* loopback = ARIL_TRY(add_interface(Interface::Kind::kLoopback, config, nullptr));
  ARIL_TRY(add_address(*loopback, {IpAddress::v4(127, 0, 0, 1), 8}));
  return add_ipv6_address(*loopback, {.address = IpAddress::v6(0, 1), .prefix_length = 128});
}

Result<Interface*> IpLayer::add_interface(Interface::Kind kind, const InterfaceConfig& config,
                                          LinkSink* sink) {
  if (interface_count_ == kMaxInterfaces) return fail(Errno::kNoSpc);
  std::unique_ptr<Interface> added(new (std::nothrow)
                                       Interface(interface_count_ + 1, kind, config, sink));
  if (!added) return fail(Errno::kNoMem);
  interfaces_[interface_count_] = std::move(added);
  return interfaces_[interface_count_++].get();
}

Interface* IpLayer::interface(uint32_t index) {
  return index == 0 || index > interface_count_ ? nullptr : interfaces_[index - 1].get();
}

Interface* IpLayer::interface(std::string_view name) {
  for (uint32_t i = 0; i < interface_count_; ++i)
    if (interfaces_[i]->name() == name) return interfaces_[i].get();
  return nullptr;
}

Result<void> IpLayer::add_address(Interface& interface, const InterfaceAddress& address) {
  if (!address.address.is_v4() || address.prefix_length > 32 || address.address.is_unspecified() ||
      address.address.is_multicast())
    return fail(Errno::kInval);
  if (std::ranges::any_of(interface.addresses(),
                          [&](const auto& own) { return own.address == address.address; }))
    return fail(Errno::kExist);
  if (interface.address_count_ == Interface::kMaxAddresses) return fail(Errno::kNoSpc);
  ARIL_TRY(add_route({.network = IpAddress::v4(address.address.v4_value() & address.mask()),
                      .prefix_length = address.prefix_length,
                      .interface = &interface,
                      .source = address.address}));
  interface.addresses_[interface.address_count_++] = address;
  changed(interface, address, Presence::kThere);
  if (!interface.is_loopback()) announce(interface, address.address);
  return {};
}

Result<void> IpLayer::add_ipv6_address(Interface& interface, const Ipv6InterfaceAddress& added) {
  if (added.address.is_v4() || added.prefix_length > 128 || added.address.is_unspecified() ||
      added.address.is_multicast() || (added.address.is_loopback() && !interface.is_loopback()))
    return fail(Errno::kInval);
  if (interface.find_ipv6(added.address) != nullptr) return fail(Errno::kExist);
  if (interface.ipv6_address_count_ == Interface::kMaxIpv6Addresses) return fail(Errno::kNoSpc);
  if (!added.is_autoconfigured && added.prefix_length < 128) {
    auto routed = add_route({.network = network_of(added.address, added.prefix_length),
                             .prefix_length = added.prefix_length,
                             .gateway = IpAddress::v6(0, 0),
                             .interface = &interface,
                             .source = IpAddress::v6(0, 0)});
    if (!routed && routed.error() != Errno::kExist) return routed;
  }
  if (!interface.is_loopback()) ARIL_TRY(join_group(interface, solicited_node(added.address)));
  Ipv6InterfaceAddress& own = interface.ipv6_addresses_[interface.ipv6_address_count_++];
  own = added;
  if (interface.is_loopback()) {
    changed(interface, own, Presence::kThere);
    return {};
  }
  // [RFC 4862] 5.4, [RFC 4429]: asks once whether anybody has it, and uses it meanwhile.
  own.is_optimistic = true;
  own.probe_end = context_.now + Duration::seconds(1);
  changed(interface, own, Presence::kThere);
  send_neighbour_message(interface, Icmpv6::kNeighbourSolicitation, IpAddress::v6(0, 0),
                         solicited_node(own.address), own.address, 0, false);
  arm_ipv6_timer(own.probe_end);
  return {};
}

void IpLayer::remove_address(Interface& interface, IpAddress address) {
  if (const Ipv6InterfaceAddress* own = interface.find_ipv6(address)) {
    size_t at = static_cast<size_t>(own - interface.ipv6_addresses_.data());
    Ipv6InterfaceAddress removed = *own;
    auto* list = interface.ipv6_addresses_.data();
    std::copy(list + at + 1, list + interface.ipv6_address_count_, list + at);
    --interface.ipv6_address_count_;
    changed(interface, removed, Presence::kGone);
    if (!interface.is_loopback()) leave_group(interface, solicited_node(address));
    bool prefix_used = std::ranges::any_of(interface.ipv6_addresses(), [&](const auto& other) {
      return !other.is_autoconfigured && other.prefix_length == removed.prefix_length &&
             network_of(other.address, other.prefix_length) ==
                 network_of(address, removed.prefix_length);
    });
    if (!prefix_used && !removed.is_autoconfigured)
      remove_route({.network = network_of(address, removed.prefix_length),
                    .prefix_length = removed.prefix_length,
                    .gateway = IpAddress::v6(0, 0),
                    .interface = &interface});
    return;
  }
  auto* end = interface.addresses_.data() + interface.address_count_;
  auto* own = std::find_if(interface.addresses_.data(), end,
                           [&](const auto& other) { return other.address == address; });
  if (own == end) return;
  InterfaceAddress removed = *own;
  std::copy(own + 1, end, own);
  --interface.address_count_;
  changed(interface, removed, Presence::kGone);
  remove_routes([&](const RouteEntry& route) {
    return route.interface == &interface && route.network.is_v4() &&
           (route.source == address || interface.address_count_ == 0);
  });
}

Result<void> IpLayer::add_route(const RouteEntry& route) {
  for (const RouteEntry& entry : routes())
    if (entry.network == route.network && entry.prefix_length == route.prefix_length &&
        entry.interface == route.interface && entry.gateway == route.gateway)
      return fail(Errno::kExist);
  if (route_count_ == kMaxRoutes) return fail(Errno::kNoSpc);
  size_t at = route_count_++;
  for (; at > 0 && routes_[at - 1].prefix_length < route.prefix_length; --at)
    routes_[at] = routes_[at - 1];
  routes_[at] = route;
  changed(route, Presence::kThere);
  return {};
}

void IpLayer::remove_route(const RouteEntry& route) {
  remove_routes([&](const RouteEntry& entry) {
    return entry.network == route.network && entry.prefix_length == route.prefix_length &&
           entry.interface == route.interface && entry.gateway == route.gateway;
  });
}

bool IpLayer::is_local(IpAddress address) const {
  for (uint32_t i = 0; i < interface_count_; ++i)
    if (interfaces_[i]->has_address(address)) return true;
  return false;
}

Result<Route> IpLayer::route(IpAddress destination, IpAddress source, uint32_t interface) {
  if (!destination.is_v4()) return route_ipv6(destination, source, interface);
  if (!source.is_v4()) source = source.is_unspecified() ? IpAddress() : source;
  if (!source.is_v4()) return fail(Errno::kInval);
  if (!source.is_unspecified() && !is_local(source)) return fail(Errno::kInval);
  // Connecting to "any" means this machine, as on Linux.
  if (destination.is_unspecified()) destination = IpAddress::v4(127, 0, 0, 1);
  if (is_local(destination))
    return Route{interfaces_[0].get(), source.is_unspecified() ? destination : source, destination};
  if (destination.is_limited_broadcast() || destination.is_multicast()) {
    if (Interface* link = group_interface(destination, interface)) {
      IpAddress own = link->addresses().empty() ? IpAddress() : link->addresses()[0].address;
      return Route{link, source.is_unspecified() ? own : source, destination, true};
    }
  } else if (const RouteEntry* entry = find_route(destination, interface)) {
    IpAddress own = entry->source;
    if (own.is_unspecified()) {
      for (const InterfaceAddress& address : entry->interface->addresses())
        if (own.is_unspecified() || address.contains(entry->gateway)) own = address.address;
    }
    bool is_broadcast = entry->interface->is_broadcast(destination);
    bool on_link = is_broadcast || entry->gateway.is_unspecified();
    return Route{entry->interface, source.is_unspecified() ? own : source,
                 on_link ? destination : entry->gateway, is_broadcast};
  }
  context_.counters.add(Counter::kIpOutNoRoutes);
  context_.counters.drop(DropReason::kNoRoute);
  return fail(Errno::kNetUnreach);
}

const RouteEntry* IpLayer::find_route(IpAddress destination, uint32_t interface) const {
  for (const RouteEntry& entry : routes())
    if (entry.matches(destination) && (interface == 0 || entry.interface->index() == interface))
      return &entry;
  return nullptr;
}

Interface* IpLayer::group_interface(IpAddress group, uint32_t bound) {
  if (Interface* chosen = interface(bound)) return chosen;
  // The default route's link, or else any link that has an address.
  for (const RouteEntry& entry : routes())
    if (entry.prefix_length == 0 && entry.network.is_v4() == group.is_v4()) return entry.interface;
  for (uint32_t i = 1; i < interface_count_; ++i) {
    const Interface& link = *interfaces_[i];
    if (group.is_v4() ? !link.addresses().empty() : !link.ipv6_addresses().empty())
      return interfaces_[i].get();
  }
  return nullptr;
}

void IpLayer::announce(Interface& interface, IpAddress address) {
  send_arp(interface,
           ArpPacket::make(ArpPacket::kRequest, interface.hardware(), address.v4_value(), {},
                           address.v4_value()),
           kEthernetBroadcast);
}

}  // namespace aril::net
