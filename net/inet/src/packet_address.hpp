#pragma once
#include <array>
#include <cstring>

#include "base/endian.hpp"
#include "net/packet/packet_socket.hpp"
#include "net/socket/socket.hpp"

namespace aril::net {

/// struct sockaddr_ll.
struct LinkAddress {
  static constexpr uint16_t kEthernet = 1, kLoopback = 772;  // ARPHRD_*
  static constexpr size_t kShortLength = 12;                 // up to the address

  uint16_t family = std::to_underlying(Family::kPacket);
  Be<uint16_t> protocol = uint16_t{0};
  int32_t interface = 0;
  uint16_t hardware_type = kEthernet;
  uint8_t direction = 0, address_length = sizeof(EthernetAddress);
  std::array<uint8_t, 8> address = {};

  static LinkAddress of(const CapturedFrame& frame) {
    LinkAddress address;
    address.protocol = frame.protocol;
    address.interface = static_cast<int32_t>(frame.interface);
    if (frame.is_loopback) address.hardware_type = kLoopback;
    address.direction = static_cast<uint8_t>(frame.direction);
    memcpy(address.address.data(), frame.source.data(), frame.source.size());
    return address;
  }
};
static_assert(sizeof(LinkAddress) == 20);

}  // namespace aril::net
