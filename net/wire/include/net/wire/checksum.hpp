#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "net/wire/address.hpp"

namespace aril::net {

/// The Internet checksum [RFC 1071], taken in pieces. Pieces may have odd lengths.
class Checksum {
 public:
  constexpr Checksum() = default;
  /// Continues a partial sum that `partial()` returned; an even number of bytes went into it.
  explicit constexpr Checksum(uint16_t partial) : sum_(partial) {}

  void add(std::span<const std::byte> bytes);
  /// A 16-bit value in host order, at an even position.
  constexpr void add(uint16_t value) { sum_ += value; }
  /// [RFC 9293] 3.1, [RFC 768]: addresses, protocol and transport length.
  void add_pseudo_header(IpAddress source, IpAddress destination, uint8_t protocol,
                         uint32_t length);

  /// The sum without the final complement, in host order: what a device that finishes the
  /// checksum wants in the checksum field.
  [[nodiscard]] uint16_t partial() const;
  /// The checksum field's value, in host order. Over data that includes a right checksum: 0.
  [[nodiscard]] uint16_t finish() const { return static_cast<uint16_t>(~partial()); }

 private:
  uint64_t sum_ = 0;  // of big-endian 16-bit words
  bool odd_ = false;  // an odd number of bytes went in so far
};

}  // namespace aril::net
