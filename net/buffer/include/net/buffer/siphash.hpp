#pragma once
#include <bit>
#include <cstdint>
#include <initializer_list>

namespace aril::net {

struct SipKey {
  uint64_t first = 0, second = 0;
};

/// SipHash-2-4 (J.-P. Aumasson, D. J. Bernstein, 2012) of whole 64-bit words: a keyed hash that a
/// peer who does not know the key can neither predict nor collide.
constexpr uint64_t siphash(const SipKey& key, std::initializer_list<uint64_t> words) {
  uint64_t v0 = key.first ^ 0x736f6d6570736575, v1 = key.second ^ 0x646f72616e646f6d;
  uint64_t v2 = key.first ^ 0x6c7967656e657261, v3 = key.second ^ 0x7465646279746573;
  auto round = [&] {
    v0 += v1, v1 = std::rotl(v1, 13) ^ v0, v0 = std::rotl(v0, 32);
    v2 += v3, v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3, v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1, v1 = std::rotl(v1, 17) ^ v2, v2 = std::rotl(v2, 32);
  };
  auto mix = [&](uint64_t word) {
    v3 ^= word;
    round(), round();
    v0 ^= word;
  };
  for (uint64_t word : words) mix(word);
  // The last word holds the length in bytes modulo 256; there are no left-over bytes.
  mix(uint64_t{words.size() * 8} << 56);
  v2 ^= 0xff;
  round(), round(), round(), round();
  return v0 ^ v1 ^ v2 ^ v3;
}

}  // namespace aril::net
