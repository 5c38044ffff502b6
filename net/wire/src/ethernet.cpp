#include "net/wire/ethernet.hpp"

namespace aril::net {
namespace {
constexpr uint16_t kHardwareEthernet = 1;
}

std::optional<ArpPacket> ArpPacket::parse(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(ArpPacket)) return std::nullopt;
  ArpPacket packet;
  std::memcpy(&packet, bytes.data(), sizeof packet);
  if (packet.hardware_type != kHardwareEthernet || packet.protocol_type != kEtherTypeIpv4 ||
      packet.hardware_length != 6 || packet.protocol_length != 4)
    return std::nullopt;
  if (packet.operation != kRequest && packet.operation != kReply) return std::nullopt;
  // A group address is no station's: believing it would send our traffic to everyone.
  if (is_group(packet.sender_hardware)) return std::nullopt;
  return packet;
}

ArpPacket ArpPacket::make(uint16_t operation, const EthernetAddress& sender_hardware,
                          uint32_t sender_protocol, const EthernetAddress& target_hardware,
                          uint32_t target_protocol) {
  ArpPacket packet;
  packet.hardware_type = kHardwareEthernet;
  packet.protocol_type = kEtherTypeIpv4;
  packet.hardware_length = 6;
  packet.protocol_length = 4;
  packet.operation = operation;
  packet.sender_hardware = sender_hardware;
  packet.sender_protocol = sender_protocol;
  packet.target_hardware = target_hardware;
  packet.target_protocol = target_protocol;
  return packet;
}

}  // namespace aril::net
