#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "base/endian.hpp"
#include "net/wire/address.hpp"
#include "net/wire/ethernet.hpp"
#include "net/wire/ipv6.hpp"

namespace aril::net {

/// [RFC 4443] 2.1: types and codes of what stands in an IcmpHeader in IPv6.
struct Icmpv6 {
  static constexpr uint8_t kUnreachable = 1, kPacketTooBig = 2, kTimeExceeded = 3,
                           kParameterProblem = 4, kEchoRequest = 128, kEchoReply = 129,
                           kListenerQuery = 130, kListenerReport = 131, kListenerDone = 132,
                           kListenerReportV2 = 143;
  static constexpr uint8_t kRouterSolicitation = 133, kRouterAdvertisement = 134,
                           kNeighbourSolicitation = 135, kNeighbourAdvertisement = 136,
                           kRedirect = 137;
  static constexpr uint8_t kNoRoute = 0, kProhibited = 1, kAddressUnreachable = 3,
                           kPortUnreachable = 4;
  static constexpr uint8_t kReassemblyTimeExceeded = 1;
  static constexpr uint8_t kUnrecognizedNextHeader = 1;
};

inline constexpr IpAddress kAllNodes = IpAddress::v6(0xff02ull << 48, 1);
inline constexpr IpAddress kAllRouters = IpAddress::v6(0xff02ull << 48, 2);
inline constexpr IpAddress kMldRouters = IpAddress::v6(0xff02ull << 48, 0x16);
inline constexpr IpAddress kLinkLocalNetwork = IpAddress::v6(0xfe80ull << 48, 0);

/// [RFC 4291] 2.7.1
constexpr IpAddress solicited_node(IpAddress address) {
  return IpAddress::v6(0xff02ull << 48, 0x1ff000000 | (address.low() & 0xffffff));
}
/// [RFC 2464] 7
constexpr EthernetAddress group_ethernet(IpAddress group) {
  auto low = static_cast<uint32_t>(group.low());
  return {0x33,
          0x33,
          static_cast<uint8_t>(low >> 24),
          static_cast<uint8_t>(low >> 16),
          static_cast<uint8_t>(low >> 8),
          static_cast<uint8_t>(low)};
}
/// The modified EUI-64 interface identifier [RFC 4291] appendix A.
constexpr uint64_t interface_identifier(const EthernetAddress& hardware) {
  uint64_t id = 0;
  for (size_t i = 0; i < 3; ++i) id = id << 8 | hardware[i];
  id = id << 16 | 0xfffe;
  for (size_t i = 3; i < 6; ++i) id = id << 8 | hardware[i];
  return id ^ uint64_t { 0x02 } << 56;
}

/// [RFC 4861] 4.3, 4.4, after the four bytes that every ICMPv6 message begins with. Messages are
/// parsed whole; the caller has checked hop limit, code and checksum.
struct NeighbourMessage {
  Be<uint32_t> flags;  ///< of an advertisement
  Ipv6Bytes target;

  static constexpr uint32_t kRouter = uint32_t{1} << 31, kSolicited = uint32_t{1} << 30,
                            kOverride = uint32_t{1} << 29;
};
static_assert(sizeof(NeighbourMessage) == 20);

/// What a solicitation or advertisement of a neighbour says.
struct NeighbourInformation {
  IpAddress target;
  uint32_t flags = 0;
  std::optional<EthernetAddress> link_address;  ///< source's or target's, as the type has it

  /// `type` is kNeighbourSolicitation or kNeighbourAdvertisement; `bytes` the whole message.
  static std::optional<NeighbourInformation> parse(uint8_t type, std::span<const std::byte> bytes);
};

/// [RFC 4861] 4.5
struct RedirectInformation {
  IpAddress target, destination;
  std::optional<EthernetAddress> link_address;  ///< the target's

  /// `bytes`: the whole message.
  static std::optional<RedirectInformation> parse(std::span<const std::byte> bytes);
};

/// [RFC 4861] 4.2, [RFC 8106] 5.1. Times in seconds; ~0 is for ever.
struct RouterAdvertisement {
  static constexpr size_t kMaxPrefixes = 8, kMaxServers = 4;
  struct Prefix {
    IpAddress network;
    uint8_t length = 0;
    bool is_on_link = false, is_autonomous = false;
    uint32_t valid = 0, preferred = 0;
  };
  uint8_t hop_limit = 0;                       ///< 0: not said
  bool is_managed = false, has_other = false;  ///< DHCPv6 has addresses, or other configuration
  uint16_t router_lifetime = 0;                ///< 0: not a default router
  uint32_t mtu = 0;                            ///< 0: not said
  std::optional<EthernetAddress> link_address;
  std::array<Prefix, kMaxPrefixes> prefixes;
  size_t prefix_count = 0;
  std::array<IpAddress, kMaxServers> servers;
  size_t server_count = 0;
  uint32_t server_lifetime = 0;

  /// Prefixes and servers past the limits are left out. Nothing when an option is malformed.
  static std::optional<RouterAdvertisement> parse(std::span<const std::byte> bytes);
};

/// A link-layer address option for Ethernet [RFC 4861] 4.6.1.
struct LinkAddressOption {
  uint8_t type, length = 1;
  EthernetAddress address;
  static constexpr uint8_t kSource = 1, kTarget = 2;
};
static_assert(sizeof(LinkAddressOption) == 8);

}  // namespace aril::net
