#pragma once
#include <expected>
#include <span>

#include <cstdint>
#include "base/endian.hpp"
#include "net/wire/address.hpp"

namespace aril::net {

/// What is known about the transport checksum of received bytes.
enum class ChecksumState : uint8_t { kUnknown, kVerified };

/// [RFC 768]
struct UdpHeader {
  Be<uint16_t> source_port, destination_port, length, checksum;
};
static_assert(sizeof(UdpHeader) == 8 && alignof(UdpHeader) == 1);

enum class UdpError : uint8_t { kTooShort, kLength, kChecksum };

/// A view of a whole datagram with a right (or no) checksum: every accessor is total. Bytes past
/// its length are dropped.
class UdpView {
 public:
  static std::expected<UdpView, UdpError> parse(std::span<const std::byte> bytes, IpAddress source,
                                                IpAddress destination, ChecksumState checksum);

  [[nodiscard]] uint16_t source_port() const { return header_.source_port; }
  [[nodiscard]] uint16_t destination_port() const { return header_.destination_port; }
  [[nodiscard]] std::span<const std::byte> payload() const { return payload_; }

 private:
  UdpView(const UdpHeader& header, std::span<const std::byte> payload)
      : header_(header), payload_(payload) {}
  UdpHeader header_;
  std::span<const std::byte> payload_;
};

}  // namespace aril::net
