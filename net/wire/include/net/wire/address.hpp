#pragma once
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>

namespace aril::net {

using EthernetAddress = std::array<uint8_t, 6>;
inline constexpr EthernetAddress kEthernetBroadcast = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/// An IPv4 or IPv6 address. IPv4 is held in its IPv4-mapped form ([RFC 4291] 2.5.5.2), so that
/// comparing and hashing never look at the family.
class IpAddress {
 public:
  /// 0.0.0.0
  constexpr IpAddress() = default;
  /// `value` in host order: 127.0.0.1 is 0x7f000001.
  static constexpr IpAddress v4(uint32_t value) { return IpAddress(0, kMappedPrefix | value); }
  static constexpr IpAddress v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    return v4(uint32_t{a} << 24 | uint32_t{b} << 16 | uint32_t{c} << 8 | d);
  }
  static constexpr IpAddress v6(uint64_t high, uint64_t low) { return IpAddress(high, low); }

  [[nodiscard]] constexpr bool is_v4() const { return high_ == 0 && low_ >> 32 == 0xffff; }
  /// Host order. Only for an IPv4 address.
  [[nodiscard]] constexpr uint32_t v4_value() const { return static_cast<uint32_t>(low_); }
  [[nodiscard]] constexpr uint64_t high() const { return high_; }
  [[nodiscard]] constexpr uint64_t low() const { return low_; }

  /// 0.0.0.0 or ::
  [[nodiscard]] constexpr bool is_unspecified() const {
    return high_ == 0 && (low_ == 0 || low_ == kMappedPrefix);
  }
  [[nodiscard]] constexpr bool is_loopback() const {
    return is_v4() ? v4_value() >> 24 == 127 : high_ == 0 && low_ == 1;
  }
  [[nodiscard]] constexpr bool is_multicast() const {
    return is_v4() ? v4_value() >> 28 == 0xe : high_ >> 56 == 0xff;
  }
  /// 255.255.255.255
  [[nodiscard]] constexpr bool is_limited_broadcast() const {
    return is_v4() && v4_value() == 0xffffffff;
  }

  /// 169.254.0.0/16 is not treated as such: [RFC 3927] is not implemented.
  [[nodiscard]] constexpr bool is_link_local() const { return high_ >> 54 == 0xfe80 >> 6; }
  /// A group whose reach ends at the link [RFC 4291] 2.7.
  [[nodiscard]] constexpr bool is_link_multicast() const {
    return !is_v4() && is_multicast() && (high_ >> 48 & 0xf) <= 2;
  }
  /// Means nothing without the link that it is on.
  [[nodiscard]] constexpr bool needs_scope() const {
    return is_link_local() || is_link_multicast();
  }

  constexpr auto operator<=>(const IpAddress&) const = default;

 private:
  static constexpr uint64_t kMappedPrefix = uint64_t{0xffff} << 32;
  constexpr IpAddress(uint64_t high, uint64_t low) : high_(high), low_(low) {}
  uint64_t high_ = 0;
  uint64_t low_ = kMappedPrefix;
};

/// "Any" and "this machine" of an address's family.
constexpr IpAddress unspecified_of(IpAddress address) {
  return address.is_v4() ? IpAddress() : IpAddress::v6(0, 0);
}
constexpr IpAddress loopback_of(IpAddress address) {
  return address.is_v4() ? IpAddress::v4(127, 0, 0, 1) : IpAddress::v6(0, 1);
}

/// The first `length` bits of an address, of its own family's length, with zeros behind.
constexpr IpAddress network_of(IpAddress address, uint8_t length) {
  if (address.is_v4())
    return IpAddress::v4(length == 0 ? 0 : address.v4_value() & ~uint32_t{0} << (32 - length));
  uint64_t high = length == 0 ? 0 : length >= 64 ? ~uint64_t{0} : ~uint64_t{0} << (64 - length);
  uint64_t low = length <= 64 ? 0 : ~uint64_t{0} << (128 - length);
  return IpAddress::v6(address.high() & high, address.low() & low);
}
constexpr uint8_t max_prefix(IpAddress address) { return address.is_v4() ? 32 : 128; }

/// A transport address: port in host order; 0 is "any".
struct Endpoint {
  IpAddress address;
  uint16_t port = 0;
  /// The index of the interface that a link-local IPv6 address is on; 0 for every other.
  uint16_t scope = 0;
  constexpr auto operator<=>(const Endpoint&) const = default;
};

}  // namespace aril::net
