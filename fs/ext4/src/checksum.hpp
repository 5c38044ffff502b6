#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace aril::ext4 {

/// CRC-32C [RFC 3720] B.4 as ext4 uses it: without the final inversion, so that it can be
/// continued.
uint32_t crc32c(uint32_t crc, std::span<const std::byte> bytes);

template <typename T>
uint32_t crc32c_of(uint32_t crc, const T& value) {
  return crc32c(crc, std::as_bytes(std::span(&value, 1)));
}

inline constexpr uint32_t kCrcStart = ~uint32_t{0};

}  // namespace aril::ext4
