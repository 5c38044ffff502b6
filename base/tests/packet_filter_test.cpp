#include "base/packet_filter.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace aril {
namespace {

using Program = std::vector<FilterInstruction>;

/// struct seccomp_data.
struct FilterData final : FilterInput {
  int32_t number = 0;
  uint64_t arguments[6] = {};
  explicit FilterData(int32_t called = 0, uint64_t first = 0) : number(called), arguments{first} {}
  bool load(uint32_t offset, unsigned, uint32_t& value) const override {
    value = offset == 0    ? static_cast<uint32_t>(number)
            : offset == 20 ? static_cast<uint32_t>(arguments[0] >> 32)
                           : 0;
    return true;
  }
  [[nodiscard]] uint32_t length() const override { return 64; }
};

Result<PacketFilter> seccomp(const Program& program) {
  return PacketFilter::create(program, PacketFilter::Dialect::kSeccomp, 64);
}
Result<PacketFilter> socket(const Program& program) {
  return PacketFilter::create(program, PacketFilter::Dialect::kSocket);
}

constexpr uint16_t kLoadWord = 0x20, kJumpEqual = 0x15, kReturn = 0x06, kReturnA = 0x16;

TEST(PacketFilter, DecidesByNumber) {
  Program program = {{kLoadWord, 0, 0, 0},
                     {kJumpEqual, 0, 1, 39},
                     {kReturn, 0, 0, 0x50001},
                     {kReturn, 0, 0, 0x7fff0000}};
  auto filter = seccomp(program);
  ASSERT_TRUE(filter);
  EXPECT_EQ(filter->run(FilterData(39)), 0x50001u);
  EXPECT_EQ(filter->run(FilterData(40)), 0x7fff0000u);
}

TEST(PacketFilter, ReadsArgumentsInHalves) {
  Program program = {{kLoadWord, 0, 0, 16 + 4}, {kReturnA, 0, 0, 0}};
  auto filter = seccomp(program);
  ASSERT_TRUE(filter);
  EXPECT_EQ(filter->run(FilterData(0, 0x1234'0000'0001)), 0x1234u);
}

TEST(PacketFilter, RefusesWhatCouldGoWrong) {
  const Program bad[] = {
      {},
      {{kLoadWord, 0, 0, 0}},                       // no return at the end
      {{kLoadWord, 0, 0, 64}, {kReturn, 0, 0, 0}},  // outside the data
      {{kLoadWord, 0, 0, 2}, {kReturn, 0, 0, 0}},   // not aligned
      {{kJumpEqual, 1, 0, 0}, {kReturn, 0, 0, 0}},  // a jump past the end
      {{0x05, 0, 0, ~0u}, {kReturn, 0, 0, 0}},      // likewise
      {{0x34, 0, 0, 0}, {kReturn, 0, 0, 0}},        // division by zero
      {{0x64, 0, 0, 32}, {kReturn, 0, 0, 0}},       // a shift of all bits
      {{0x02, 0, 0, 16}, {kReturn, 0, 0, 0}},       // outside the memory
      {{0x28, 0, 0, 0}, {kReturn, 0, 0, 0}},        // a half word
      {{0x1234, 0, 0, 0}, {kReturn, 0, 0, 0}},
  };
  for (const Program& program : bad) EXPECT_EQ(seccomp(program).error(), Errno::kInval);
}

TEST(PacketFilter, DividesByZeroSafely) {
  Program program = {{0x00, 0, 0, 5}, {0x3c, 0, 0, 0}, {kReturn, 0, 0, 7}};
  auto filter = seccomp(program);
  ASSERT_TRUE(filter);
  EXPECT_EQ(filter->run(FilterData()), 0u);
}

// What `tcpdump -ddd 'udp port 53'` makes for IPv4, in short: a header of variable length.
TEST(PacketFilter, FindsAPortBehindOptions) {
  Program program = {{0x30, 0, 0, 9},   {kJumpEqual, 0, 4, 17}, {0xb1, 0, 0, 0},
                     {0x48, 0, 0, 2},   {kJumpEqual, 0, 1, 53}, {kReturn, 0, 0, 96},
                     {kReturn, 0, 0, 0}};
  auto filter = socket(program);
  ASSERT_TRUE(filter);
  std::vector<uint8_t> bytes(32);
  bytes[0] = 0x46;  // 24 bytes of header
  bytes[9] = 17;
  bytes[27] = 53;
  EXPECT_EQ(filter->run(BytesInput(std::as_bytes(std::span(bytes)))), 96u);
  bytes[27] = 54;
  EXPECT_EQ(filter->run(BytesInput(std::as_bytes(std::span(bytes)))), 0u);
  bytes.resize(25);  // cut short: not for us
  EXPECT_EQ(filter->run(BytesInput(std::as_bytes(std::span(bytes)))), 0u);
  EXPECT_EQ(seccomp(program).error(), Errno::kInval);
}

TEST(PacketFilter, LoadsNothingOutside) {
  for (uint32_t offset : {3u, 4u, 0x7fffffffu, 0xfffffffcu}) {
    auto filter = socket({{0x20, 0, 0, offset}, {kReturn, 0, 0, 1}});
    ASSERT_TRUE(filter);
    const uint8_t bytes[] = {1, 2, 3, 4};
    EXPECT_EQ(filter->run(BytesInput(std::as_bytes(std::span(bytes)))), 0u) << offset;
  }
}

}  // namespace
}  // namespace aril
