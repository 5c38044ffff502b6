#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/flags.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "net/buffer/block.hpp"
#include "net/ip/multicast_group.hpp"
#include "net/wire/address.hpp"
#include "net/wire/udp.hpp"

namespace aril::net {

/// Payload bytes by reference. Not initialised by itself: a list of them lies on the stack for
/// every segment that is sent.
struct TxPiece {
  const std::byte* data;
  uint32_t length;
  /// Keeps the bytes alive: the sink shares it when it needs them after it returns. Null: it
  /// copies.
  Block* block;
};

/// A frame that leaves the stack. Everything is valid during the call only.
struct TxPacket {
  std::span<const std::byte> header;  ///< Ethernet, IP and transport headers
  std::span<const TxPiece> payload;
  /// With kChecksum: the checksum is over the bytes from here on and goes to `checksum_offset`
  /// after here, where the pseudo-header's sum stands already. 0: complete.
  uint16_t checksum_start = 0, checksum_offset = 0;
  /// With kTso: payload bytes per segment. With kUfo: bytes behind each fragment's IP header. 0: it
  /// stays whole.
  uint16_t segment_size = 0;
  bool is_ipv6 = false;
  bool is_datagram = false;  ///< of UDP, longer than the path takes

  [[nodiscard]] size_t size() const {
    size_t total = header.size();
    for (const TxPiece& piece : payload) total += piece.length;
    return total;
  }
};

/// Where an interface's frames go. Frames that cannot be taken are dropped, and counted there.
class LinkSink {
 public:
  virtual void transmit(const TxPacket& packet) = 0;

 protected:
  ~LinkSink() = default;
};

enum class LinkFeatures : uint8_t {
  kNone = 0,
  kChecksum = 1,  ///< the link fills in transport checksums
  kTso = 2,       ///< the link cuts TCP segments of up to 64 KiB, over IPv4
  kTso6 = 4,      ///< and over IPv6
  kUfo = 8,       ///< the link cuts UDP datagrams of up to 64 KiB into fragments
};
ARIL_FLAG_OPERATORS(LinkFeatures);

struct InterfaceConfig {
  std::string_view name;  ///< at most 15 bytes
  EthernetAddress hardware = {};
  uint32_t mtu = 1500;
  LinkFeatures features = LinkFeatures::kNone;
};

/// An IPv4 address.
struct InterfaceAddress {
  IpAddress address;
  uint8_t prefix_length = 0;

  [[nodiscard]] uint32_t mask() const {
    return prefix_length == 0 ? 0 : ~uint32_t{0} << (32 - prefix_length);
  }
  [[nodiscard]] bool contains(IpAddress other) const {
    return other.is_v4() && ((other.v4_value() ^ address.v4_value()) & mask()) == 0;
  }
};

/// What an IPv4 address is on a link.
enum class AddressRole : uint8_t {
  kOther,
  kOwn,
  kBroadcast,  ///< the limited one, or that of one of our networks
};

/// An IPv6 address, with what [RFC 4862] 5.5.4 keeps of it.
struct Ipv6InterfaceAddress {
  IpAddress address;
  uint8_t prefix_length = 0;
  /// Nobody has answered for it so far, but time is not up: used, with the restraint of [RFC 4429].
  bool is_optimistic = false;
  bool is_autoconfigured = false;
  Instant probe_end;
  Instant preferred_until = Instant::never(), valid_until = Instant::never();
};

/// When a link's routers are told of groups, of one family.
struct GroupReporting {
  Instant general_at = Instant::never();  ///< of all: a query asked for it
  Instant changes_at = Instant::never();  ///< once more
  /// A querier that knows no sources was heard [RFC 3376] 7.2.1, [RFC 3810] 8.2.1.
  Instant plain_until;
  uint8_t robustness = 2;  ///< how often changes are told; the querier may say otherwise

  [[nodiscard]] bool is_plain(Instant now) const { return plain_until > now; }
};

/// One link and our addresses on it. Owned by IpLayer, lives as long.
class Interface {
 public:
  static constexpr size_t kMaxAddresses = 8, kMaxIpv6Addresses = 16, kMaxGroups = 64,
                          kMaxNameServers = 4;
  enum class Kind : uint8_t { kEthernet, kLoopback };

  Interface(uint32_t index, Kind kind, const InterfaceConfig& config, LinkSink* sink);

  [[nodiscard]] uint32_t index() const { return index_; }
  [[nodiscard]] std::string_view name() const { return {name_.data(), name_length_}; }
  [[nodiscard]] bool is_loopback() const { return kind_ == Kind::kLoopback; }
  [[nodiscard]] const EthernetAddress& hardware() const { return hardware_; }
  [[nodiscard]] uint32_t mtu() const { return mtu_; }
  /// The device is connected to something.
  [[nodiscard]] bool has_carrier() const { return has_carrier_; }
  [[nodiscard]] LinkFeatures features() const { return features_; }

  [[nodiscard]] std::span<const InterfaceAddress> addresses() const {
    return {addresses_.data(), address_count_};
  }
  /// Link-local first.
  [[nodiscard]] std::span<const Ipv6InterfaceAddress> ipv6_addresses() const {
    return {ipv6_addresses_.data(), ipv6_address_count_};
  }
  [[nodiscard]] const Ipv6InterfaceAddress* find_ipv6(IpAddress address) const;
  /// What IPv6 packets may have; a router can lower it [RFC 4861] 6.3.4.
  [[nodiscard]] uint32_t ipv6_mtu() const { return ipv6_mtu_ != 0 ? ipv6_mtu_ : mtu_; }
  /// Of what we send to neighbours and beyond, unless a socket says otherwise.
  [[nodiscard]] uint8_t hop_limit() const { return hop_limit_; }
  /// A group whose packets we take.
  [[nodiscard]] bool is_member(IpAddress group) const;
  /// And those of `source` among them.
  [[nodiscard]] bool hears(IpAddress group, IpAddress source) const;
  /// A router told of these [RFC 8106].
  struct NameServer {
    IpAddress address;
    Instant expiry;
  };
  [[nodiscard]] std::span<const NameServer> name_servers() const {
    return {name_servers_.data(), name_server_count_};
  }
  /// The scope id that `address` has when it is on this link.
  [[nodiscard]] uint16_t scope_of(IpAddress address) const {
    return address.needs_scope() ? static_cast<uint16_t>(index_) : uint16_t{0};
  }
  /// One of ours, of either family.
  [[nodiscard]] bool has_address(IpAddress address) const;
  [[nodiscard]] bool is_broadcast(IpAddress address) const {
    return address.is_v4() && role_of_ipv4(address.v4_value()) == AddressRole::kBroadcast;
  }
  /// Of an IPv4 address in host order; the whole loopback network is not kOwn here.
  [[nodiscard]] AddressRole role_of_ipv4(uint32_t address) const;

  struct Statistics {
    uint64_t received_frames = 0, received_bytes = 0, sent_frames = 0, sent_bytes = 0;
    uint64_t receive_dropped = 0, send_dropped = 0, received_multicast = 0;
  };
  [[nodiscard]] Statistics& statistics() { return statistics_; }
  [[nodiscard]] const Statistics& statistics() const { return statistics_; }

  /// Some have no users any more [MulticastGroup].
  [[nodiscard]] std::span<const MulticastGroup> groups() const {
    return {groups_.data(), group_count_};
  }
  /// Packet sockets that want frames for others too: counted.
  void change_promiscuity(int by) { promiscuity_ += static_cast<unsigned>(by); }
  [[nodiscard]] bool is_promiscuous() const { return promiscuity_ != 0; }

 private:
  friend class IpLayer;
  [[nodiscard]] const MulticastGroup* find_group(IpAddress group) const;

  uint32_t index_;
  Kind kind_;
  uint8_t name_length_ = 0;
  uint8_t address_count_ = 0;
  bool has_carrier_ = true;
  std::array<char, 16> name_ = {};
  EthernetAddress hardware_;
  uint32_t mtu_;
  LinkFeatures features_;
  LinkSink* sink_;
  std::array<InterfaceAddress, kMaxAddresses> addresses_ = {};
  Statistics statistics_;

  std::array<Ipv6InterfaceAddress, kMaxIpv6Addresses> ipv6_addresses_ = {};
  uint8_t ipv6_address_count_ = 0;
  uint8_t hop_limit_ = 64;
  uint8_t solicitations_left_ = 0;  // of routers
  uint8_t group_count_ = 0, name_server_count_ = 0;
  uint32_t ipv6_mtu_ = 0;
  Instant next_solicitation_ = Instant::never();
  Instant igmp_version1_until_;
  std::array<GroupReporting, 2> group_reporting_ = {};  // of IPv6, of IPv4
  unsigned promiscuity_ = 0;
  std::array<MulticastGroup, kMaxGroups> groups_ = {};
  std::array<NameServer, kMaxNameServers> name_servers_ = {};
};

}  // namespace aril::net
