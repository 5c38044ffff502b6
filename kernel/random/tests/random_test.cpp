#include "kernel/random/random.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "../src/blake2s.hpp"
#include "../src/chacha20.hpp"

namespace aril::random {
namespace {

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (std::byte b : bytes) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", std::to_integer<unsigned>(b));
    text += digits;
  }
  return text;
}

TEST(ChaCha20, BlockFunction) {  // [RFC 8439] 2.3.2
  Key key;
  for (size_t i = 0; i < key.size(); ++i) key[i] = std::byte(i);
  std::array<std::byte, 12> nonce{};
  nonce[3] = std::byte{0x09};
  nonce[7] = std::byte{0x4a};
  std::array<std::byte, 64> block;
  chacha20_block(key, 1, nonce, block);
  EXPECT_EQ(hex(block),
            "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
            "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e");
}

TEST(ChaCha20, ZeroKey) {  // [RFC 8439] A.1, test vector 1
  std::array<std::byte, 64> block;
  chacha20_block(Key{}, 0, std::array<std::byte, 12>{}, block);
  EXPECT_EQ(hex(block),
            "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
            "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586");
}

TEST(Blake2s, KnownDigests) {  // [RFC 7693] appendix B
  Blake2s hash;
  hash.update(std::as_bytes(std::span("abc", 3)));
  EXPECT_EQ(hex(hash.finish()), "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
  EXPECT_EQ(hex(Blake2s().finish()),
            "69217a3079908094e11121d042354a7c1f55b6482ca1a51e1b250dfd1ed0eef9");
}

TEST(Blake2s, SplitUpdatesGiveTheSame) {
  std::vector<std::byte> data(200, std::byte{7});
  Blake2s whole, split;
  whole.update(data);
  for (size_t i = 0; i < data.size();) {
    size_t count = std::min<size_t>(i % 64 + 1, data.size() - i);
    split.update(std::span(data).subspan(i, count));
    i += count;
  }
  EXPECT_EQ(whole.finish(), split.finish());
}

TEST(Random, SeedsAndNeverRepeats) {
  initialize();
  EXPECT_TRUE(is_seeded());
  std::set<uint64_t> seen;
  for (int i = 0; i < 10000; ++i) EXPECT_TRUE(seen.insert(next_u64()).second);
  std::array<std::byte, 1000> a{}, b{};
  fill(a);
  fill(b);
  EXPECT_NE(a, b);
  fill({});
}

TEST(Random, BitsAreBalanced) {
  std::vector<uint64_t> words(8192);
  fill(std::as_writable_bytes(std::span(words)));
  int ones = 0;
  for (uint64_t word : words) ones += std::popcount(word);
  // 262144 expected, 362 the standard deviation.
  EXPECT_NEAR(ones, 262144, 2200);
}

TEST(Random, BelowStaysBelow) {
  for (uint64_t bound : {uint64_t{1}, uint64_t{2}, uint64_t{7}, uint64_t{1} << 40, ~uint64_t{0}}) {
    for (int i = 0; i < 100; ++i) EXPECT_LT(below(bound), bound);
  }
  int counts[3] = {};
  for (int i = 0; i < 9000; ++i) ++counts[below(3)];
  for (int count : counts) EXPECT_NEAR(count, 3000, 270);
}

}  // namespace
}  // namespace aril::random
