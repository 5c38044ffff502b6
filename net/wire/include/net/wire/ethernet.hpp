#pragma once
#include <optional>
#include <span>

#include <cstdint>
#include "base/endian.hpp"
#include "net/wire/address.hpp"

namespace aril::net {

/// [IEEE 802.3] 3.2, without preamble and frame check sequence.
struct EthernetHeader {
  EthernetAddress destination, source;
  Be<uint16_t> type;
};
static_assert(sizeof(EthernetHeader) == 14 && alignof(EthernetHeader) == 1);

inline constexpr uint16_t kEtherTypeIpv4 = 0x0800;
inline constexpr uint16_t kEtherTypeArp = 0x0806;
inline constexpr uint16_t kEtherTypeIpv6 = 0x86dd;

/// [RFC 826] for IPv4 over Ethernet.
struct ArpPacket {
  Be<uint16_t> hardware_type, protocol_type;
  uint8_t hardware_length, protocol_length;
  Be<uint16_t> operation;
  EthernetAddress sender_hardware;
  Be<uint32_t> sender_protocol;
  EthernetAddress target_hardware;
  Be<uint32_t> target_protocol;

  static constexpr uint16_t kRequest = 1, kReply = 2;
  /// Nothing unless it is a request or reply for IPv4 over Ethernet.
  static std::optional<ArpPacket> parse(std::span<const std::byte> bytes);
  static ArpPacket make(uint16_t operation, const EthernetAddress& sender_hardware,
                        uint32_t sender_protocol, const EthernetAddress& target_hardware,
                        uint32_t target_protocol);
};
static_assert(sizeof(ArpPacket) == 28 && alignof(ArpPacket) == 1);

/// Multicast and broadcast frames have the group bit set.
constexpr bool is_group(const EthernetAddress& address) { return (address[0] & 1) != 0; }

}  // namespace aril::net
