#pragma once
#include <array>
#include <expected>
#include <optional>
#include <span>
#include <string_view>

#include <cstdint>
#include "base/endian.hpp"
#include "net/wire/address.hpp"

namespace aril::net {

/// [RFC 2131] 2, up to the options.
struct DhcpHeader {
  uint8_t operation, hardware_type, hardware_length, hops;
  Be<uint32_t> transaction;
  Be<uint16_t> seconds, flags;
  Be<uint32_t> client, your, server, relay;
  uint8_t hardware_address[16];
  uint8_t server_name[64], boot_file[128];
  Be<uint32_t> magic;

  static constexpr uint8_t kRequest = 1, kReply = 2;
  static constexpr uint32_t kMagic = 0x63825363;
};
static_assert(sizeof(DhcpHeader) == 240 && alignof(DhcpHeader) == 1);

enum class DhcpMessageType : uint8_t {
  kDiscover = 1,
  kOffer,
  kRequest,
  kDecline,
  kAck,
  kNak,
  kRelease,
  kInform,
};

inline constexpr uint16_t kDhcpServerPort = 67, kDhcpClientPort = 68;

/// What a client needs of a server's message.
struct DhcpMessage {
  static constexpr size_t kMaxServers = 3;

  DhcpMessageType type = DhcpMessageType::kDiscover;
  uint32_t transaction = 0;
  EthernetAddress client_hardware = {};
  IpAddress your_address, server_identifier, gateway;
  uint32_t subnet_mask = 0;
  std::array<IpAddress, kMaxServers> nameservers = {};
  uint8_t nameserver_count = 0;
  uint32_t lease_seconds = 0, renewal_seconds = 0, rebinding_seconds = 0;
  uint16_t interface_mtu = 0;

  /// Nothing unless it is a well-formed reply for Ethernet with a message type. Options that run
  /// past the end stop the parse; overloaded fields [RFC 2132] 9.3 are not read.
  static std::optional<DhcpMessage> parse(std::span<const std::byte> bytes);
};

/// What a client says [RFC 2131] 4.4.1, table 5.
struct DhcpClientMessage {
  DhcpMessageType type;
  uint32_t transaction;
  uint16_t seconds;
  EthernetAddress hardware;
  IpAddress client_address;  ///< ciaddr: only when bound
  std::optional<IpAddress> requested_address, server_identifier;
  std::string_view host_name;

  static constexpr size_t kMaxSize = 576 - 28;
  /// The length written.
  size_t write(std::span<std::byte, kMaxSize> out) const;
};

}  // namespace aril::net
