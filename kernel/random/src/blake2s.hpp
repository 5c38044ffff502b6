#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace aril::random {

/// The BLAKE2s-256 hash [RFC 7693], unkeyed.
class Blake2s {
 public:
  using Digest = std::array<std::byte, 32>;

  Blake2s();
  void update(std::span<const std::byte> bytes);
  /// Once; the object is used up.
  Digest finish();

 private:
  static constexpr size_t kBlockSize = 64;
  enum class Last : uint8_t { kNo, kYes };
  void compress(Last last);

  std::array<uint32_t, 8> state_;
  std::array<std::byte, kBlockSize> block_{};
  size_t filled_ = 0;
  uint64_t total_ = 0;
};

}  // namespace aril::random
