#include "packet_filter.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace aril::linux_abi {
namespace {

using Program = std::vector<FilterInstruction>;
constexpr uint16_t kLoadWord = 0x20, kJumpEqual = 0x15, kReturn = 0x06, kReturnA = 0x16;

TEST(PacketFilter, DecidesByNumber) {
  Program program = {{kLoadWord, 0, 0, 0},
                     {kJumpEqual, 0, 1, 39},
                     {kReturn, 0, 0, 0x50001},
                     {kReturn, 0, 0, 0x7fff0000}};
  auto filter = PacketFilter::create(program);
  ASSERT_TRUE(filter);
  EXPECT_EQ(filter->run({.number = 39}), 0x50001u);
  EXPECT_EQ(filter->run({.number = 40}), 0x7fff0000u);
}

TEST(PacketFilter, ReadsArgumentsInHalves) {
  Program program = {{kLoadWord, 0, 0, 16 + 4}, {kReturnA, 0, 0, 0}};
  auto filter = PacketFilter::create(program);
  ASSERT_TRUE(filter);
  EXPECT_EQ(filter->run({.arguments = {0x1234'0000'0001}}), 0x1234u);
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
  for (const Program& program : bad)
    EXPECT_EQ(PacketFilter::create(program).error(), Errno::kInval);
}

TEST(PacketFilter, DividesByZeroSafely) {
  Program program = {{0x00, 0, 0, 5}, {0x3c, 0, 0, 0}, {kReturn, 0, 0, 7}};
  auto filter = PacketFilter::create(program);
  ASSERT_TRUE(filter);
  EXPECT_EQ(filter->run({}), 0u);
}

}  // namespace
}  // namespace aril::linux_abi
