#include "blake2s.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace aril::random {
namespace {

static_assert(std::endian::native == std::endian::little, "words are loaded as they lie");

constexpr std::array<uint32_t, 8> kInitial = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                              0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

// [RFC 7693] 2.7; BLAKE2s has ten rounds.
constexpr uint8_t kSigma[10][16] = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
                                    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
                                    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
                                    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
                                    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
                                    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
                                    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
                                    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
                                    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
                                    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};

struct Mix {
  std::array<uint32_t, 16> v;
  void operator()(size_t a, size_t b, size_t c, size_t d, uint32_t x, uint32_t y) {
    v[a] = v[a] + v[b] + x;
    v[d] = std::rotr(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = std::rotr(v[b] ^ v[c], 12);
    v[a] = v[a] + v[b] + y;
    v[d] = std::rotr(v[d] ^ v[a], 8);
    v[c] += v[d];
    v[b] = std::rotr(v[b] ^ v[c], 7);
  }
};

}  // namespace

Blake2s::Blake2s() : state_(kInitial) {
  // Parameter block: 32 bytes of digest, no key, fan-out and depth 1.
  state_[0] ^= 0x01010000 ^ sizeof(Digest);
}

void Blake2s::update(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    // A full block waits until more comes, as the last one is compressed differently.
    if (filled_ == kBlockSize) {
      compress(Last::kNo);
      filled_ = 0;
    }
    size_t count = std::min(kBlockSize - filled_, bytes.size());
    std::ranges::copy(bytes.first(count), block_.begin() + static_cast<ptrdiff_t>(filled_));
    filled_ += count;
    total_ += count;
    bytes = bytes.subspan(count);
  }
}

Blake2s::Digest Blake2s::finish() {
  std::ranges::fill(std::span(block_).subspan(filled_), std::byte{});
  compress(Last::kYes);
  return std::bit_cast<Digest>(state_);
}

void Blake2s::compress(Last last) {
  std::array<uint32_t, 16> m;
  std::memcpy(m.data(), block_.data(), kBlockSize);
  Mix mix;
  std::ranges::copy(state_, mix.v.begin());
  std::ranges::copy(kInitial, mix.v.begin() + 8);
  mix.v[12] ^= static_cast<uint32_t>(total_);
  mix.v[13] ^= static_cast<uint32_t>(total_ >> 32);
  if (last == Last::kYes) mix.v[14] = ~mix.v[14];
  for (const auto& s : kSigma) {
    mix(0, 4, 8, 12, m[s[0]], m[s[1]]);
    mix(1, 5, 9, 13, m[s[2]], m[s[3]]);
    mix(2, 6, 10, 14, m[s[4]], m[s[5]]);
    mix(3, 7, 11, 15, m[s[6]], m[s[7]]);
    mix(0, 5, 10, 15, m[s[8]], m[s[9]]);
    mix(1, 6, 11, 12, m[s[10]], m[s[11]]);
    mix(2, 7, 8, 13, m[s[12]], m[s[13]]);
    mix(3, 4, 9, 14, m[s[14]], m[s[15]]);
  }
  for (size_t i = 0; i < state_.size(); ++i) state_[i] ^= mix.v[i] ^ mix.v[i + 8];
}

}  // namespace aril::random
