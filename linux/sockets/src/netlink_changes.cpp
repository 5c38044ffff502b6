#include <algorithm>

#include "base/endian.hpp"
#include "netlink_messages.hpp"

/// What netlink's requests ask for, and change.
namespace aril::linux_abi::netlink {
namespace {

// IFA_*, RTA_*, IFLA_*
constexpr uint16_t kAddressAddress = 1, kAddressLocal = 2;
constexpr uint16_t kRouteDestination = 1, kRouteOutput = 4, kRouteGateway = 5, kRouteSource = 7;
constexpr uint16_t kLinkName = 3;

/// A request's body of fixed length. kInval when it is too short.
template <typename Body>
Result<Body> body_of(std::span<const std::byte> bytes) {
  Body body;
  if (bytes.size() < sizeof(body)) return fail(Errno::kInval);
  memcpy(&body, bytes.data(), sizeof(body));
  return body;
}

Result<void> change_address(net::IpLayer& ip, uint16_t type, std::span<const std::byte> bytes) {
  auto body = ARIL_TRY(body_of<AddressMessage>(bytes));
  Attributes attributes(bytes.subspan(sizeof(body)));
  net::Interface* interface = ip.interface(body.index);
  if (interface == nullptr) return fail(Errno::kNoDev);
  auto address = attributes.address(kAddressLocal);
  if (!address) address = attributes.address(kAddressAddress);
  if (!address || body.prefix_length > net::max_prefix(*address)) return fail(Errno::kInval);
  if (type == kDeleteAddress) {
    // Programs rely on these.
    if (address->is_loopback() || !interface->has_address(*address))
      return fail(Errno::kAddrNotAvail);
    ip.remove_address(*interface, *address);
    return {};
  }
  if (address->is_v4()) return ip.add_address(*interface, {*address, body.prefix_length});
  return ip.add_ipv6_address(*interface,
                             {.address = *address, .prefix_length = body.prefix_length});
}

Result<void> change_route(net::IpLayer& ip, uint16_t type, std::span<const std::byte> bytes) {
  auto body = ARIL_TRY(body_of<RouteMessage>(bytes));
  if (body.family != kInet && body.family != kInet6) return fail(Errno::kAfNoSupport);
  Attributes attributes(bytes.subspan(sizeof(body)));
  net::IpAddress any = body.family == kInet ? net::IpAddress() : net::IpAddress::v6(0, 0);
  net::IpAddress network = attributes.address(kRouteDestination).value_or(any);
  net::IpAddress gateway = attributes.address(kRouteGateway).value_or(any);
  net::IpAddress source = attributes.address(kRouteSource).value_or(any);
  bool one_family = network.is_v4() == any.is_v4() && gateway.is_v4() == any.is_v4() &&
                    source.is_v4() == any.is_v4();
  if (!one_family || body.destination_length > net::max_prefix(any)) return fail(Errno::kInval);
  if (net::network_of(network, body.destination_length) != network) return fail(Errno::kInval);
  net::Interface* interface = ip.interface(attributes.number(kRouteOutput).value_or(0));
  if (type == kDeleteRoute) {
    for (const net::RouteEntry& route : ip.routes()) {
      bool is_it = route.network == network && route.prefix_length == body.destination_length &&
                   (interface == nullptr || route.interface == interface) &&
                   (gateway.is_unspecified() || route.gateway == gateway);
      if (!is_it) continue;
      ip.remove_route(net::RouteEntry(route));
      return {};
    }
    return fail(Errno::kSrch);
  }
  if (interface == nullptr) {
    // The link that the gateway is on.
    if (gateway.is_unspecified()) return fail(Errno::kNoDev);
    auto reached = ip.route(gateway);
    if (!reached || reached->interface->is_loopback()) return fail(Errno::kNetUnreach);
    interface = reached->interface;
  }
  return ip.add_route({.network = network,
                       .prefix_length = body.destination_length,
                       .gateway = gateway,
                       .interface = interface,
                       .source = source});
}

}  // namespace

std::optional<std::span<const std::byte>> Attributes::find(uint16_t type) const {
  for (auto rest = bytes_; rest.size() >= sizeof(Attribute);) {
    Attribute attribute;
    memcpy(&attribute, rest.data(), sizeof(attribute));
    if (attribute.length < sizeof(attribute) || attribute.length > rest.size()) break;
    constexpr uint16_t kTypeMask = 0x3fff;  // NLA_TYPE_MASK
    if ((attribute.type & kTypeMask) == type)
      return rest.subspan(sizeof(attribute), attribute.length - sizeof(attribute));
    rest = rest.subspan(std::min<size_t>(align_up(size_t{attribute.length}, 4), rest.size()));
  }
  return std::nullopt;
}

std::optional<uint32_t> Attributes::number(uint16_t type) const {
  auto value = find(type);
  uint32_t number;
  if (!value || value->size() < sizeof(number)) return std::nullopt;
  memcpy(&number, value->data(), sizeof(number));
  return number;
}

std::optional<net::IpAddress> Attributes::address(uint16_t type) const {
  auto value = find(type);
  if (!value) return std::nullopt;
  if (value->size() == 4) {
    Be<uint32_t> word;
    memcpy(&word, value->data(), sizeof(word));
    return net::IpAddress::v4(word.get());
  }
  Be<uint64_t> halves[2];
  if (value->size() != sizeof(halves)) return std::nullopt;
  memcpy(halves, value->data(), sizeof(halves));
  return net::IpAddress::v6(halves[0], halves[1]);
}

std::string_view Attributes::text(uint16_t type) const {
  auto value = find(type);
  if (!value) return {};
  std::string_view text(reinterpret_cast<const char*>(value->data()), value->size());
  return text.substr(0, text.find('\0'));
}

Result<void> change(net::IpLayer& ip, uint16_t type, std::span<const std::byte> body) {
  switch (type) {
    case kNewAddress:
    case kDeleteAddress:
      return change_address(ip, type, body);
    case kNewRoute:
    case kDeleteRoute:
      return change_route(ip, type, body);
    default:
      return fail(Errno::kOpNotSupp);
  }
}

Result<void> look_up(net::IpLayer& ip, uint16_t type, std::span<const std::byte> bytes,
                     AnswerWriter& out) {
  if (type == kGetLink) {
    auto body = ARIL_TRY(body_of<LinkMessage>(bytes));
    Attributes attributes(bytes.subspan(sizeof(body)));
    const net::Interface* interface = body.index > 0
                                          ? ip.interface(static_cast<uint32_t>(body.index))
                                          : ip.interface(attributes.text(kLinkName));
    if (interface == nullptr) return fail(Errno::kNoDev);
    describe_link(out, *interface, 0);
    return {};
  }
  if (type != kGetRoute) return fail(Errno::kOpNotSupp);
  auto body = ARIL_TRY(body_of<RouteMessage>(bytes));
  Attributes attributes(bytes.subspan(sizeof(body)));
  auto destination = attributes.address(kRouteDestination);
  if (!destination) return fail(Errno::kInval);
  net::IpAddress source =
      attributes.address(kRouteSource).value_or(net::unspecified_of(*destination));
  net::Route route =
      ARIL_TRY(ip.route(*destination, source, attributes.number(kRouteOutput).value_or(0)));
  bool on_link = route.next_hop == *destination;
  describe_route(out,
                 {.network = *destination,
                  .prefix_length = net::max_prefix(*destination),
                  .gateway = on_link ? net::unspecified_of(*destination) : route.next_hop,
                  .interface = route.interface,
                  .source = route.source},
                 0);
  return {};
}

}  // namespace aril::linux_abi::netlink
