#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "net/wire/checksum.hpp"
#include "net/wire/tcp.hpp"

namespace aril::net {
namespace {

/// [RFC 1071] 4.1, word by word.
uint16_t reference_checksum(std::span<const std::byte> bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i)
    sum += static_cast<uint32_t>(bytes[i]) << (i % 2 == 0 ? 8 : 0);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

TEST(Checksum, EqualsTheReferenceForAnyCutting) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::byte> bytes(random() % 300);
    for (std::byte& byte : bytes) byte = round % 3 == 0 ? std::byte{0xff} : std::byte(random());
    Checksum sum;
    std::span<const std::byte> rest = bytes;
    while (!rest.empty()) {
      size_t count = 1 + random() % rest.size();
      sum.add(rest.first(count));
      rest = rest.subspan(count);
    }
    ASSERT_EQ(sum.finish(), reference_checksum(bytes)) << "round " << round;
  }
}

TEST(Checksum, GoesOnFromAPartialSum) {
  std::vector<std::byte> bytes(100, std::byte{0xa7});
  Checksum first;
  first.add(std::span(bytes).first(40));
  Checksum rest(first.partial());
  rest.add(std::span(bytes).subspan(40));
  EXPECT_EQ(rest.finish(), reference_checksum(bytes));
}

TEST(Checksum, OfTheRfcExample) {  // [RFC 1071] 3
  constexpr uint8_t kBytes[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  Checksum sum;
  sum.add(std::as_bytes(std::span(kBytes)));
  EXPECT_EQ(sum.partial(), 0xddf2);
}

TEST(IpAddress, KnowsItsKind) {
  EXPECT_TRUE(IpAddress().is_v4() && IpAddress().is_unspecified());
  EXPECT_TRUE(IpAddress::v4(127, 1, 2, 3).is_loopback());
  EXPECT_TRUE(IpAddress::v4(239, 0, 0, 1).is_multicast());
  EXPECT_FALSE(IpAddress::v6(0x20010db8ull << 32, 1).is_v4());
  EXPECT_TRUE(IpAddress::v6(0, 1).is_loopback());
  EXPECT_NE(IpAddress::v6(0, 0), IpAddress());
}

TEST(TcpOptions, SurviveARoundTrip) {
  TcpSegmentOptions options;
  options.max_segment = 1460;
  options.window_scale = 7;
  options.sack_permitted = true;
  options.timestamps = TcpTimestamps{0x01020304, 0x05060708};
  options.sack[0] = {1, 2};
  options.sack_count = 1;
  std::array<std::byte, 40> bytes;
  size_t length = options.write(bytes);
  EXPECT_EQ(length % 4, 0u);
  auto parsed = TcpSegmentOptions::parse(std::span(bytes).first(length));
  EXPECT_EQ(parsed.max_segment, 1460);
  EXPECT_EQ(parsed.window_scale, 7);
  EXPECT_TRUE(parsed.sack_permitted);
  ASSERT_TRUE(parsed.timestamps);
  EXPECT_EQ(parsed.timestamps->echo, 0x05060708u);
  ASSERT_EQ(parsed.sack_count, 1);
  EXPECT_EQ(parsed.sack[0].end, 2u);
}

TEST(TcpOptions, FitAsManySackBlocksAsThereIsRoomFor) {
  TcpSegmentOptions options;
  options.timestamps = TcpTimestamps{1, 2};
  options.sack_count = 4;
  std::array<std::byte, 40> bytes;
  size_t length = options.write(bytes);
  EXPECT_LE(length, 40u);
  EXPECT_EQ(TcpSegmentOptions::parse(std::span(bytes).first(length)).sack_count, 3);
}

TEST(TcpOptions, StopAtNonsense) {
  auto parse = [](std::initializer_list<uint8_t> values) {
    std::vector<uint8_t> bytes(values);
    return TcpSegmentOptions::parse(std::as_bytes(std::span(bytes)));
  };
  EXPECT_EQ(parse({2, 0}).max_segment, 0);
  EXPECT_EQ(parse({2, 1, 2, 4, 5, 0}).max_segment, 0);
  EXPECT_EQ(parse({2, 4, 5}).max_segment, 0);
  EXPECT_EQ(parse({8, 9, 1, 2, 3, 4, 5, 6, 7}).timestamps.has_value(), false);
  EXPECT_EQ(parse({77, 3, 0, 1, 2, 4, 5, 0xb4}).max_segment, 1460);
  EXPECT_EQ(parse({0, 2, 4, 5, 0xb4}).max_segment, 0);
}

TEST(TcpSequence, ComparesAroundZero) {  // [RFC 9293] 3.4
  EXPECT_TRUE(sequence_before(0xfffffff0, 5));
  EXPECT_TRUE(sequence_after(5, 0xfffffff0));
  EXPECT_EQ(sequence_max(0xfffffff0, 5), 5u);
}

}  // namespace
}  // namespace aril::net
