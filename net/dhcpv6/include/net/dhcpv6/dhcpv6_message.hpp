#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "base/time.hpp"
#include "net/wire/address.hpp"

namespace aril::net {

inline constexpr uint16_t kDhcpv6ClientPort = 546, kDhcpv6ServerPort = 547;
/// All_DHCP_Relay_Agents_and_Servers [RFC 8415] 7.1.
inline constexpr IpAddress kDhcpv6Servers = IpAddress::v6(0xff02ull << 48, 0x10002);

/// [RFC 8415] 7.3, those that a client sends or takes.
enum class Dhcpv6MessageType : uint8_t {
  kSolicit = 1,
  kAdvertise = 2,
  kRequest = 3,
  kRenew = 5,
  kRebind = 6,
  kReply = 7,
  kDecline = 9,
  kInformationRequest = 11,
};

/// [RFC 8415] 21.13
enum class Dhcpv6Status : uint16_t { kSuccess, kUnspecified, kNoAddresses, kNoBinding, kNotOnLink };

/// Who a server is: bytes that mean something to it alone [RFC 8415] 11.1.
struct Dhcpv6Identifier {
  static constexpr size_t kMaxSize = 130;
  std::array<std::byte, kMaxSize> bytes = {};
  uint8_t length = 0;

  [[nodiscard]] std::span<const std::byte> view() const { return std::span(bytes).first(length); }
  bool operator==(const Dhcpv6Identifier& other) const;
};

/// What a client needs of a server's message. Times in seconds; ~0 is for ever.
struct Dhcpv6Message {
  static constexpr size_t kMaxServers = 3;

  Dhcpv6MessageType type = Dhcpv6MessageType::kReply;
  uint32_t transaction = 0;
  Dhcpv6Identifier server;
  uint8_t preference = 0;
  bool is_rapid = false;
  Dhcpv6Status status = Dhcpv6Status::kSuccess;  ///< the message's, or else the association's
  std::optional<IpAddress> address;
  uint32_t preferred = 0, valid = 0, renew = 0, rebind = 0;
  std::array<IpAddress, kMaxServers> name_servers = {};
  uint8_t name_server_count = 0;
  std::optional<uint32_t> refresh;  ///< [RFC 8415] 21.23

  /// Nothing unless it is a well-formed answer with one server's identifier to the client with
  /// `hardware`. Of several addresses the first counts.
  static std::optional<Dhcpv6Message> parse(std::span<const std::byte> bytes,
                                            const EthernetAddress& hardware);
};

/// What a client says [RFC 8415] 18.2.
struct Dhcpv6ClientMessage {
  Dhcpv6MessageType type;
  uint32_t transaction;
  EthernetAddress hardware;
  Duration elapsed;
  const Dhcpv6Identifier* server = nullptr;  ///< to whom; null: whoever hears it
  std::optional<IpAddress> address;          ///< asked for, held or declined

  static constexpr size_t kMaxSize = 256;
  /// The length written.
  size_t write(std::span<std::byte, kMaxSize> out) const;
};

}  // namespace aril::net
