#pragma once
#include <expected>
#include <span>

#include <cstdint>
#include "base/endian.hpp"
#include "net/wire/address.hpp"

namespace aril::net {

enum class IpProtocol : uint8_t { kIcmp = 1, kIgmp = 2, kTcp = 6, kUdp = 17, kIcmpv6 = 58 };

/// [RFC 791] 3.1
struct Ipv4Header {
  uint8_t version_and_length;
  uint8_t type_of_service;
  Be<uint16_t> total_length, identification, fragment;
  uint8_t time_to_live, protocol;
  Be<uint16_t> checksum;
  Be<uint32_t> source, destination;

  static constexpr uint16_t kDontFragment = 0x4000, kMoreFragments = 0x2000, kOffsetMask = 0x1fff;
};
static_assert(sizeof(Ipv4Header) == 20 && alignof(Ipv4Header) == 1);

enum class Ipv4Error : uint8_t { kTooShort, kVersion, kHeaderLength, kTotalLength, kChecksum };

/// A view of a whole packet with a right header checksum: every accessor is total. Bytes past its
/// total length (Ethernet padding) are dropped.
class Ipv4View {
 public:
  static std::expected<Ipv4View, Ipv4Error> parse(std::span<const std::byte> bytes);
  /// For what an ICMP error quotes: checksum and total length are not checked, the payload is what
  /// is there.
  static std::expected<Ipv4View, Ipv4Error> parse_quoted(std::span<const std::byte> bytes);

  [[nodiscard]] IpAddress source() const { return IpAddress::v4(header_.source); }
  [[nodiscard]] IpAddress destination() const { return IpAddress::v4(header_.destination); }
  [[nodiscard]] uint8_t protocol() const { return header_.protocol; }
  [[nodiscard]] uint8_t time_to_live() const { return header_.time_to_live; }
  [[nodiscard]] uint8_t type_of_service() const { return header_.type_of_service; }
  [[nodiscard]] uint16_t identification() const { return header_.identification; }
  [[nodiscard]] bool is_fragment() const {
    return (header_.fragment & (Ipv4Header::kMoreFragments | Ipv4Header::kOffsetMask)) != 0;
  }
  [[nodiscard]] bool more_fragments() const {
    return (header_.fragment & Ipv4Header::kMoreFragments) != 0;
  }
  /// In bytes.
  [[nodiscard]] uint32_t fragment_offset() const {
    return (header_.fragment & Ipv4Header::kOffsetMask) * 8u;
  }
  [[nodiscard]] size_t header_length() const { return (header_.version_and_length & 0xf) * 4u; }
  [[nodiscard]] std::span<const std::byte> options() const {
    return packet_.subspan(sizeof(Ipv4Header), header_length() - sizeof(Ipv4Header));
  }
  [[nodiscard]] std::span<const std::byte> payload() const {
    return packet_.subspan(header_length());
  }
  [[nodiscard]] std::span<const std::byte> packet() const { return packet_; }

 private:
  Ipv4View(const Ipv4Header& header, std::span<const std::byte> packet)
      : header_(header), packet_(packet) {}
  Ipv4Header header_;
  std::span<const std::byte> packet_;
};

/// Everything of a header that is not computed.
struct Ipv4Fields {
  IpAddress source, destination;
  IpProtocol protocol;
  uint8_t time_to_live = 64;
  uint8_t type_of_service = 0;
  uint16_t identification = 0;
  uint16_t fragment = 0;  ///< flags and offset as on the wire
};

/// A header without options, its checksum filled in. `payload_length` + 20 fits 16 bits.
Ipv4Header make_ipv4_header(const Ipv4Fields& fields, size_t payload_length);

/// [RFC 792]
struct IcmpHeader {
  uint8_t type, code;
  Be<uint16_t> checksum;
  Be<uint32_t> rest;

  static constexpr uint8_t kEchoReply = 0, kUnreachable = 3, kRedirect = 5, kEchoRequest = 8,
                           kTimeExceeded = 11, kParameterProblem = 12;
  static constexpr uint8_t kNetUnreachable = 0, kHostUnreachable = 1, kProtocolUnreachable = 2,
                           kPortUnreachable = 3, kFragmentationNeeded = 4;
  static constexpr uint8_t kReassemblyTimeExceeded = 1;
  /// Of a network or host, for all types of service or one; all are taken for the host.
  static constexpr uint8_t kLastRedirectCode = 3;
};
static_assert(sizeof(IcmpHeader) == 8 && alignof(IcmpHeader) == 1);

}  // namespace aril::net
