#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace aril::net {

struct SipKey {
  uint64_t first = 0, second = 0;
};

/// SipHash (J.-P. Aumasson, D. J. Bernstein, 2012) of whole 64-bit words and up to seven bytes, in
/// little-endian order in `rest`: a keyed hash that a peer who does not know the key can neither
/// predict nor collide. Few rounds for each word are enough for a hash table, whose hashes nobody
/// sees (Linux takes as many there); siphash() has the paper's.
template <int kWordRounds, int kLastRounds>
constexpr uint64_t siphash_rounds(const SipKey& key, std::initializer_list<uint64_t> words,
                                  uint64_t rest = 0, size_t rest_length = 0) {
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
    for (int i = 0; i < kWordRounds; ++i) round();
    v0 ^= word;
  };
  for (uint64_t word : words) mix(word);
  // The last word ends with the length in bytes modulo 256.
  mix(uint64_t{words.size() * 8 + rest_length} << 56 | rest);
  v2 ^= 0xff;
  for (int i = 0; i < kLastRounds; ++i) round();
  return v0 ^ v1 ^ v2 ^ v3;
}

constexpr uint64_t siphash(const SipKey& key, std::initializer_list<uint64_t> words) {
  return siphash_rounds<2, 4>(key, words);
}

}  // namespace aril::net
