#include "net/wire/ndp.hpp"

#include <algorithm>
#include <cstring>

namespace aril::net {
namespace {

constexpr uint8_t kPrefixOption = 3, kMtuOption = 5, kServersOption = 25;

/// [RFC 4861] 4.6.2
struct PrefixOption {
  uint8_t type, length, prefix_length, flags;
  Be<uint32_t> valid, preferred, reserved;
  Ipv6Bytes prefix;
  static constexpr uint8_t kOnLink = 0x80, kAutonomous = 0x40;
};
static_assert(sizeof(PrefixOption) == 32);

/// [RFC 4861] 4.2
struct AdvertisementHeader {
  uint8_t type, code;
  Be<uint16_t> checksum;
  uint8_t hop_limit, flags;
  Be<uint16_t> router_lifetime;
  Be<uint32_t> reachable_time, retransmit_timer;
  static constexpr uint8_t kManaged = 0x80, kOther = 0x40;
};
static_assert(sizeof(AdvertisementHeader) == 16);

// [RFC 4861] 6.1.2, 7.1: every option has a length that is not zero and fits.
template <typename Function>
bool for_each_option(std::span<const std::byte> bytes, Function function) {
  while (!bytes.empty()) {
    if (bytes.size() < 8) return false;
    size_t length = static_cast<size_t>(bytes[1]) * 8;
    if (length == 0 || length > bytes.size()) return false;
    function(static_cast<uint8_t>(bytes[0]), bytes.first(length));
    bytes = bytes.subspan(length);
  }
  return true;
}

std::optional<EthernetAddress> link_address_of(std::span<const std::byte> option) {
  EthernetAddress address;
  if (option.size() != sizeof(LinkAddressOption)) return std::nullopt;
  std::memcpy(address.data(), option.data() + 2, address.size());
  // A group address is no station's: believing it would send our traffic to everyone.
  if (is_group(address)) return std::nullopt;
  return address;
}

}  // namespace

std::optional<NeighbourInformation> NeighbourInformation::parse(uint8_t type,
                                                                std::span<const std::byte> bytes) {
  constexpr size_t kStart = 4;
  if (bytes.size() < kStart + sizeof(NeighbourMessage)) return std::nullopt;
  NeighbourMessage message;
  std::memcpy(&message, bytes.data() + kStart, sizeof message);
  NeighbourInformation result{.target = message.target.get(), .flags = message.flags};
  if (result.target.is_multicast() || result.target.is_v4() || result.target.is_unspecified())
    return std::nullopt;
  uint8_t wanted = type == Icmpv6::kNeighbourSolicitation ? LinkAddressOption::kSource
                                                          : LinkAddressOption::kTarget;
  bool whole = for_each_option(bytes.subspan(kStart + sizeof message),
                               [&](uint8_t kind, std::span<const std::byte> option) {
                                 if (kind == wanted) result.link_address = link_address_of(option);
                               });
  if (!whole) return std::nullopt;
  return result;
}

std::optional<RedirectInformation> RedirectInformation::parse(std::span<const std::byte> bytes) {
  constexpr size_t kStart = 8;
  struct {
    Ipv6Bytes target, destination;
  } message;
  if (bytes.size() < kStart + sizeof message) return std::nullopt;
  std::memcpy(&message, bytes.data() + kStart, sizeof message);
  RedirectInformation out{.target = message.target.get(), .destination = message.destination.get()};
  bool sound = for_each_option(bytes.subspan(kStart + sizeof message),
                               [&](uint8_t type, std::span<const std::byte> option) {
                                 if (type == LinkAddressOption::kTarget)
                                   out.link_address = link_address_of(option);
                               });
  if (!sound) return std::nullopt;
  return out;
}

std::optional<RouterAdvertisement> RouterAdvertisement::parse(std::span<const std::byte> bytes) {
  AdvertisementHeader header;
  if (bytes.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof header);
  RouterAdvertisement result{.hop_limit = header.hop_limit,
                             .is_managed = (header.flags & AdvertisementHeader::kManaged) != 0,
                             .has_other = (header.flags & AdvertisementHeader::kOther) != 0,
                             .router_lifetime = header.router_lifetime};
  auto take = [&](uint8_t kind, std::span<const std::byte> option) {
    if (kind == LinkAddressOption::kSource) {
      result.link_address = link_address_of(option);
    } else if (kind == kMtuOption && option.size() == 8) {
      Be<uint32_t> mtu;
      std::memcpy(&mtu, option.data() + 4, sizeof mtu);
      result.mtu = mtu;
    } else if (kind == kPrefixOption && option.size() == sizeof(PrefixOption)) {
      PrefixOption prefix;
      std::memcpy(&prefix, option.data(), sizeof prefix);
      IpAddress network = prefix.prefix.get();
      // [RFC 4861] 6.3.4: never the link-local prefix; nor what is no unicast prefix at all.
      if (prefix.prefix_length > 128 || network.is_link_local() || network.is_multicast() ||
          network.is_v4() || result.prefix_count == kMaxPrefixes)
        return;
      result.prefixes[result.prefix_count++] = {
          .network = network_of(network, prefix.prefix_length),
          .length = prefix.prefix_length,
          .is_on_link = (prefix.flags & PrefixOption::kOnLink) != 0,
          .is_autonomous = (prefix.flags & PrefixOption::kAutonomous) != 0,
          .valid = prefix.valid,
          .preferred = std::min(prefix.preferred.get(), prefix.valid.get())};
    } else if (kind == kServersOption && option.size() >= 24) {
      Be<uint32_t> lifetime;
      std::memcpy(&lifetime, option.data() + 4, sizeof lifetime);
      result.server_lifetime = lifetime;
      for (auto rest = option.subspan(8); rest.size() >= 16; rest = rest.subspan(16)) {
        Ipv6Bytes server;
        std::memcpy(&server, rest.data(), sizeof server);
        IpAddress address = server.get();
        if (result.server_count < kMaxServers && !address.is_multicast() && !address.is_v4() &&
            !address.is_unspecified())
          result.servers[result.server_count++] = address;
      }
    }
  };
  if (!for_each_option(bytes.subspan(sizeof header), take)) return std::nullopt;
  return result;
}

}  // namespace aril::net
