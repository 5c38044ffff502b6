#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace aril::random {

using Key = std::array<std::byte, 32>;
inline constexpr size_t kChachaBlockSize = 64;

/// The ChaCha20 block function [RFC 8439] 2.3.
void chacha20_block(const Key& key, uint32_t counter, std::span<const std::byte, 12> nonce,
                    std::span<std::byte, kChachaBlockSize> out);

}  // namespace aril::random
