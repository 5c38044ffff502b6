#include "name_hash.hpp"

#include <algorithm>
#include <array>
#include <bit>

namespace aril::ext4 {
namespace {

enum class Characters : uint8_t { kSigned, kUnsigned };

uint32_t value_of(char c, Characters characters) {
  // Signed ones are widened with their sign, as the first kernels on x86 did.
  return characters == Characters::kSigned
             ? static_cast<uint32_t>(static_cast<int32_t>(static_cast<signed char>(c)))
             : static_cast<uint8_t>(c);
}

uint32_t legacy_hash(std::string_view name, Characters characters) {
  uint32_t current = 0x12a3fe2d, before = 0x37abe8f9;
  for (char c : name) {
    uint32_t next = before + (current ^ (value_of(c, characters) * 7152373));
    if ((next & 0x80000000) != 0) next -= 0x7fffffff;
    before = current;
    current = next;
  }
  return current << 1;
}

/// The name's next bytes as words, filled up with its length.
template <size_t kWords>
std::array<uint32_t, kWords> words_of(std::string_view text, Characters characters) {
  auto length = static_cast<uint32_t>(text.size());
  uint32_t pad = length | length << 8;
  pad |= pad << 16;
  std::array<uint32_t, kWords> words;
  words.fill(pad);
  size_t count = std::min(text.size(), kWords * 4);
  for (size_t word = 0; word * 4 < count; ++word) {
    uint32_t value = pad;
    for (size_t i = word * 4; i < std::min(count, word * 4 + 4); ++i)
      value = value_of(text[i], characters) + (value << 8);
    words[word] = value;
  }
  return words;
}

using State = std::array<uint32_t, 4>;

/// MD4's [RFC 1320] functions over half of its steps, as ext3 chose them.
void half_md4(State& state, const std::array<uint32_t, 8>& in) {
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
  auto choose = [](uint32_t x, uint32_t y, uint32_t z) { return z ^ (x & (y ^ z)); };
  auto majority = [](uint32_t x, uint32_t y, uint32_t z) { return (x & y) + ((x ^ y) & z); };
  auto parity = [](uint32_t x, uint32_t y, uint32_t z) { return x ^ y ^ z; };
  // Eight steps; in each the four words change their roles.
  auto round = [&](auto function, uint32_t constant, const uint8_t(&order)[8],
                   const uint8_t(&shifts)[4]) {
    for (size_t i = 0; i < 8; ++i) {
      a = std::rotl(a + function(b, c, d) + in[order[i]] + constant, shifts[i % 4]);
      uint32_t last = d;
      d = c;
      c = b;
      b = a;
      a = last;
    }
  };
  round(choose, 0, {0, 1, 2, 3, 4, 5, 6, 7}, {3, 7, 11, 19});
  round(majority, 0x5A827999, {1, 3, 5, 7, 0, 2, 4, 6}, {3, 5, 9, 13});
  round(parity, 0x6ED9EBA1, {3, 7, 2, 6, 1, 5, 0, 4}, {3, 9, 11, 15});
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
}

void tea(State& state, const std::array<uint32_t, 4>& in) {
  uint32_t sum = 0, left = state[0], right = state[1];
  for (int i = 0; i < 16; ++i) {
    sum += 0x9E3779B9;
    left += ((right << 4) + in[0]) ^ (right + sum) ^ ((right >> 5) + in[1]);
    right += ((left << 4) + in[2]) ^ (left + sum) ^ ((left >> 5) + in[3]);
  }
  state[0] += left;
  state[1] += right;
}

}  // namespace

uint32_t name_hash(HashVersion version, std::span<const uint32_t, 4> seed, std::string_view name) {
  auto number = static_cast<uint8_t>(version);
  Characters characters = number >= 3 ? Characters::kUnsigned : Characters::kSigned;
  State state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
  if (std::ranges::any_of(seed, [](uint32_t word) { return word != 0; }))
    std::ranges::copy(seed, state.begin());
  uint32_t hash = 0;
  switch (static_cast<HashVersion>(number % 3)) {
    case HashVersion::kHalfMd4:
      for (std::string_view rest = name; !rest.empty();
           rest.remove_prefix(std::min<size_t>(rest.size(), 32)))
        half_md4(state, words_of<8>(rest, characters));
      hash = state[1];
      break;
    case HashVersion::kTea:
      for (std::string_view rest = name; !rest.empty();
           rest.remove_prefix(std::min<size_t>(rest.size(), 16)))
        tea(state, words_of<4>(rest, characters));
      hash = state[0];
      break;
    default:
      hash = legacy_hash(name, characters);
      break;
  }
  hash &= ~1u;
  // The largest value is reserved for the end of a directory.
  constexpr uint32_t kEnd = 0x7fffffffu << 1;
  return hash == kEnd ? kEnd - 2 : hash;
}

}  // namespace aril::ext4
