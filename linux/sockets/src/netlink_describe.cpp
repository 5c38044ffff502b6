#include <bit>

#include "netlink_messages.hpp"

/// The state of the network as netlink's messages.
namespace aril::linux_abi::netlink {
namespace {

uint32_t network_order(net::IpAddress address) { return std::byteswap(address.v4_value()); }

/// An address as an attribute of its family's length.
void address_attribute(AnswerWriter& out, uint16_t type, net::IpAddress address) {
  if (address.is_v4()) return out.attribute(type, network_order(address));
  out.attribute(type, net::Ipv6Bytes::of(address));
}

}  // namespace

void describe_link(AnswerWriter& out, const net::Interface& interface, uint16_t answer_flags) {
  constexpr uint16_t kEthernet = 1, kHardwareLoopback = 772;
  constexpr uint16_t kAddress = 1, kBroadcastAddress = 2, kName = 3, kMtu = 4, kQueueLength = 13,
                     kOperationalState = 16, kStatistics = 23;
  uint32_t flags = kUp;
  if (interface.has_carrier()) flags |= kRunning | kLowerUp;
  flags |= interface.is_loopback() ? kLoopback : kBroadcast | kMulticast;
  out.begin(kNewLink, answer_flags,
            LinkMessage{.type = interface.is_loopback() ? kHardwareLoopback : kEthernet,
                        .index = static_cast<int32_t>(interface.index()),
                        .flags = flags,
                        .change = ~0u});
  out.text(kName, interface.name());
  out.attribute(kQueueLength, uint32_t{1000});
  constexpr uint8_t kDown = 2, kOperational = 6;  // IF_OPER_*
  out.attribute(kOperationalState, interface.has_carrier() ? kOperational : kDown);
  out.attribute(kMtu, interface.mtu());
  // struct rtnl_link_stats64
  const auto& count = interface.statistics();
  uint64_t statistics[24] = {
      count.received_frames, count.sent_frames,  count.received_bytes,    count.sent_bytes, 0, 0,
      count.receive_dropped, count.send_dropped, count.received_multicast};
  out.attribute(kStatistics, statistics);
  out.attribute(kAddress, interface.hardware());
  out.attribute(kBroadcastAddress,
                interface.is_loopback() ? net::EthernetAddress{} : net::kEthernetBroadcast);
  out.finish();
}

void describe_address(AnswerWriter& out, const net::Interface& interface,
                      const net::InterfaceAddress& address, uint16_t flags) {
  constexpr uint16_t kAddress = 1, kLocal = 2, kLabel = 3, kBroadcastAddress = 4;
  constexpr uint8_t kPermanent = 0x80, kScopeGlobal = 0, kScopeHost = 254;
  uint32_t own = network_order(address.address);
  out.begin(kNewAddress, flags,
            AddressMessage{.family = std::to_underlying(net::Family::kInet) & 0xff,
                           .prefix_length = address.prefix_length,
                           .flags = kPermanent,
                           .scope = interface.is_loopback() ? kScopeHost : kScopeGlobal,
                           .index = interface.index()});
  out.attribute(kAddress, own);
  out.attribute(kLocal, own);
  if (!interface.is_loopback())
    out.attribute(kBroadcastAddress, std::byteswap(address.address.v4_value() | ~address.mask()));
  out.text(kLabel, interface.name());
  out.finish();
}

void describe_address(AnswerWriter& out, const net::Interface& interface,
                      const net::Ipv6InterfaceAddress& address, Instant now,
                      uint16_t answer_flags) {
  constexpr uint16_t kAddress = 1, kCacheInformation = 6;
  constexpr uint8_t kPermanent = 0x80, kDeprecated = 0x20, kOptimistic = 4;
  constexpr uint8_t kScopeGlobal = 0, kScopeLink = 253, kScopeHost = 254;
  uint8_t flags = address.valid_until == Instant::never() ? kPermanent : 0;
  if (address.preferred_until <= now) flags |= kDeprecated;
  if (address.is_optimistic) flags |= kOptimistic;
  auto seconds = [&](Instant end) {
    return end == Instant::never() ? ~0u : static_cast<uint32_t>((end - now).ns / 1'000'000'000);
  };
  out.begin(kNewAddress, answer_flags,
            AddressMessage{.family = kInet6,
                           .prefix_length = address.prefix_length,
                           .flags = flags,
                           .scope = interface.is_loopback()           ? kScopeHost
                                    : address.address.is_link_local() ? kScopeLink
                                                                      : kScopeGlobal,
                           .index = interface.index()});
  address_attribute(out, kAddress, address.address);
  // struct ifa_cacheinfo
  uint32_t cache[4] = {seconds(std::max(address.preferred_until, now)),
                       seconds(address.valid_until), 0, 0};
  out.attribute(kCacheInformation, cache);
  out.finish();
}

void describe_route(AnswerWriter& out, const net::RouteEntry& route, uint16_t flags) {
  constexpr uint16_t kDestination = 1, kOutput = 4, kGateway = 5, kPreferredSource = 7, kTable = 15;
  constexpr uint8_t kProtocolBoot = 3, kProtocolRouter = 9, kScopeLink = 253, kUnicast = 1;
  bool on_link = route.gateway.is_unspecified();
  // Linux keeps what leads to this machine itself apart.
  uint8_t table = route.interface->is_loopback() ? kLocalTable : kMainTable;
  out.begin(kNewRoute, flags,
            RouteMessage{.family = route.network.is_v4() ? kInet : kInet6,
                         .destination_length = route.prefix_length,
                         .table = table,
                         .protocol = route.is_advertised ? kProtocolRouter : kProtocolBoot,
                         .scope = on_link && route.network.is_v4() ? kScopeLink : uint8_t{0},
                         .type = kUnicast});
  out.attribute(kTable, uint32_t{table});
  if (route.prefix_length != 0) address_attribute(out, kDestination, route.network);
  if (!on_link) address_attribute(out, kGateway, route.gateway);
  if (!route.source.is_unspecified()) address_attribute(out, kPreferredSource, route.source);
  out.attribute(kOutput, route.interface->index());
  out.finish();
}

void describe_neighbour(AnswerWriter& out, const net::NeighbourView& neighbour, uint16_t flags) {
  constexpr uint16_t kDestination = 1, kLinkAddress = 2;
  constexpr uint16_t kIncomplete = 1, kReachable = 2;  // NUD_*
  constexpr uint8_t kUnicast = 1;
  out.begin(kNewNeighbour, flags,
            NeighbourMessage{.family = neighbour.address.is_v4() ? kInet : kInet6,
                             .padding = 0,
                             .padding2 = 0,
                             .index = static_cast<int32_t>(neighbour.interface->index()),
                             .state = neighbour.is_complete ? kReachable : kIncomplete,
                             .flags = 0,
                             .type = kUnicast});
  address_attribute(out, kDestination, neighbour.address);
  if (neighbour.is_complete) out.attribute(kLinkAddress, neighbour.hardware);
  out.finish();
}

}  // namespace aril::linux_abi::netlink
