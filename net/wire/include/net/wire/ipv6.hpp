#pragma once
#include <cstdint>
#include <expected>
#include <optional>
#include <span>

#include "base/endian.hpp"
#include "net/wire/address.hpp"
#include "net/wire/ipv4.hpp"

namespace aril::net {

/// 128 bits as on the wire.
struct Ipv6Bytes {
  Be<uint64_t> high, low;
  [[nodiscard]] IpAddress get() const { return IpAddress::v6(high, low); }
  static Ipv6Bytes of(IpAddress address) { return {address.high(), address.low()}; }
};
static_assert(sizeof(Ipv6Bytes) == 16 && alignof(Ipv6Bytes) == 1);

/// [RFC 8200] 3
struct Ipv6Header {
  Be<uint32_t> version_class_flow;
  Be<uint16_t> payload_length;
  uint8_t next_header, hop_limit;
  Ipv6Bytes source, destination;
};
static_assert(sizeof(Ipv6Header) == 40 && alignof(Ipv6Header) == 1);

/// [RFC 8200] 5: every link carries packets of this size.
inline constexpr uint32_t kMinIpv6Mtu = 1280;

/// [RFC 8200] 4.5
struct Ipv6FragmentHeader {
  uint8_t next_header, reserved;
  Be<uint16_t> offset_and_flags;
  Be<uint32_t> identification;

  static constexpr uint16_t kMoreFragments = 1, kOffsetMask = 0xfff8;
};
static_assert(sizeof(Ipv6FragmentHeader) == 8 && alignof(Ipv6FragmentHeader) == 1);

/// Values of the next-header field that are not transports.
struct Ipv6Extension {
  static constexpr uint8_t kHopByHop = 0, kRouting = 43, kFragment = 44, kNone = 59,
                           kDestinationOptions = 60;
};

enum class Ipv6Error : uint8_t {
  kTooShort,
  kVersion,
  kLength,
  kAddress,        ///< an IPv4-mapped one, which never is on a wire [RFC 4291] 2.5.5.2
  kExtension,      ///< an extension header that is cut off, misplaced, or one too many
  kRoutingHeader,  ///< with segments left [RFC 5095, RFC 8200 4.4]
  kOption,         ///< unknown, and its type says that the packet goes
};

/// What is wrong with a packet, and what its sender is told [RFC 4443] 3.4.
struct Ipv6Problem {
  Ipv6Error error = Ipv6Error::kTooShort;
  /// Where in the packet; 0: say nothing.
  uint32_t pointer = 0;
  uint8_t code = 0;
  /// Also when it was sent to a group [RFC 4443] 2.4 (e.3).
  bool answer_group = false;
};

/// A view of a whole packet, its extension headers walked: every accessor is total. Bytes past its
/// length (Ethernet padding) are dropped.
class Ipv6View {
 public:
  /// More than this many extension headers are nobody's but an attacker's.
  static constexpr unsigned kMaxExtensions = 8;

  static std::expected<Ipv6View, Ipv6Problem> parse(std::span<const std::byte> bytes);
  /// For what an ICMPv6 error quotes: the payload is what is there.
  static std::expected<Ipv6View, Ipv6Problem> parse_quoted(std::span<const std::byte> bytes);

  [[nodiscard]] IpAddress source() const { return header_.source.get(); }
  [[nodiscard]] IpAddress destination() const { return header_.destination.get(); }
  [[nodiscard]] uint8_t hop_limit() const { return header_.hop_limit; }
  [[nodiscard]] uint8_t traffic_class() const {
    return static_cast<uint8_t>(header_.version_class_flow.get() >> 20);
  }
  /// What payload() is: a transport, or of a fragment what the whole continues with.
  [[nodiscard]] uint8_t protocol() const { return protocol_; }
  /// Where in the packet `protocol` stands; for a fragment where the fragment header's type does.
  [[nodiscard]] uint32_t next_header_offset() const { return next_header_offset_; }
  /// An atomic fragment [RFC 6946] is not one: it is whole.
  [[nodiscard]] bool is_fragment() const { return fragment_.has_value(); }
  /// The next three only for a fragment. In bytes.
  [[nodiscard]] uint32_t fragment_offset() const {
    return fragment_->offset_and_flags & Ipv6FragmentHeader::kOffsetMask;
  }
  [[nodiscard]] bool more_fragments() const {
    return (fragment_->offset_and_flags & Ipv6FragmentHeader::kMoreFragments) != 0;
  }
  [[nodiscard]] uint32_t identification() const { return fragment_->identification; }
  /// What comes before payload(), without a fragment's fragment header.
  [[nodiscard]] uint32_t header_length() const {
    return is_fragment() ? payload_offset_ - uint32_t{sizeof(Ipv6FragmentHeader)} : payload_offset_;
  }
  [[nodiscard]] std::span<const std::byte> payload() const {
    return packet_.subspan(payload_offset_);
  }
  [[nodiscard]] std::span<const std::byte> packet() const { return packet_; }

 private:
  Ipv6View(const Ipv6Header& header, std::span<const std::byte> packet)
      : header_(header), packet_(packet) {}
  std::optional<Ipv6Problem> walk();

  Ipv6Header header_;
  std::span<const std::byte> packet_;
  uint32_t payload_offset_ = sizeof(Ipv6Header);
  uint32_t next_header_offset_ = 6;
  uint8_t protocol_ = 0;
  std::optional<Ipv6FragmentHeader> fragment_;
};

/// A header of `payload_length` (extension headers included).
Ipv6Header make_ipv6_header(IpAddress source, IpAddress destination, uint8_t next_header,
                            uint8_t hop_limit, uint8_t traffic_class, size_t payload_length);

/// The length of the header that carries packets to or from `address`.
constexpr uint32_t network_header_size(IpAddress address) {
  return address.is_v4() ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
}

}  // namespace aril::net
