#pragma once
#include <cstdint>
#include <cstring>
#include <span>

#include "base/endian.hpp"

namespace aril::acpi {

/// Reads a little-endian field; 0 when it lies beyond the table's end (a table of an older
/// revision).
template <typename T>
T field(std::span<const std::byte> bytes, size_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return 0;
  Le<T> value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

inline bool checksum_is_zero(std::span<const std::byte> bytes) {
  uint8_t sum = 0;
  for (std::byte byte : bytes) sum = static_cast<uint8_t>(sum + static_cast<uint8_t>(byte));
  return sum == 0;
}

inline bool has_signature(std::span<const std::byte> bytes, const char* signature, size_t length) {
  return bytes.size() >= length && std::memcmp(bytes.data(), signature, length) == 0;
}

}  // namespace aril::acpi
