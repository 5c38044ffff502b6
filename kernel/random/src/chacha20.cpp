#include "chacha20.hpp"

#include <bit>
#include <cstring>

namespace aril::random {
namespace {

static_assert(std::endian::native == std::endian::little, "words are loaded as they lie");

using Words = std::array<uint32_t, 16>;

void quarter_round(Words& x, size_t a, size_t b, size_t c, size_t d) {  // [RFC 8439] 2.1
  x[a] += x[b];
  x[d] = std::rotl(x[d] ^ x[a], 16);
  x[c] += x[d];
  x[b] = std::rotl(x[b] ^ x[c], 12);
  x[a] += x[b];
  x[d] = std::rotl(x[d] ^ x[a], 8);
  x[c] += x[d];
  x[b] = std::rotl(x[b] ^ x[c], 7);
}

}  // namespace

void chacha20_block(const Key& key, uint32_t counter, std::span<const std::byte, 12> nonce,
                    std::span<std::byte, kChachaBlockSize> out) {
  // "expand 32-byte k".
  Words initial = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  std::memcpy(&initial[4], key.data(), key.size());
  initial[12] = counter;
  std::memcpy(&initial[13], nonce.data(), nonce.size());
  Words x = initial;
  for (int i = 0; i < 10; ++i) {
    quarter_round(x, 0, 4, 8, 12);
    quarter_round(x, 1, 5, 9, 13);
    quarter_round(x, 2, 6, 10, 14);
    quarter_round(x, 3, 7, 11, 15);
    quarter_round(x, 0, 5, 10, 15);
    quarter_round(x, 1, 6, 11, 12);
    quarter_round(x, 2, 7, 8, 13);
    quarter_round(x, 3, 4, 9, 14);
  }
  for (size_t i = 0; i < x.size(); ++i) x[i] += initial[i];
  std::memcpy(out.data(), x.data(), kChachaBlockSize);
}

}  // namespace aril::random
