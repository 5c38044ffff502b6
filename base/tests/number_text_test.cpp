#include "base/number_text.hpp"

#include <gtest/gtest.h>

namespace aril {
namespace {

TEST(NumberText, IsDigitsAlone) {
  EXPECT_EQ(parse_number("0"), 0u);
  EXPECT_EQ(parse_number("007"), 7u);
  EXPECT_EQ(parse_number("fF", 16), 255u);
  EXPECT_EQ(parse_number("18446744073709551615"), UINT64_MAX);
  for (const char* wrong : {"", "-1", "+1", " 1", "1 ", "1a", "0x1", "18446744073709551616",
                            "99999999999999999999999", "@", "`"}) {
    EXPECT_FALSE(parse_number(wrong)) << wrong;
  }
  EXPECT_FALSE(parse_number("g", 16));
  EXPECT_EQ(parse_number("255", 10, 255), 255u);
  EXPECT_FALSE(parse_number("256", 10, 255));
}

TEST(NumberText, IsTakenFromTheFront) {
  std::string_view text = "12k@";
  EXPECT_EQ(take_number(text), 12u);
  EXPECT_EQ(text, "k@");
  EXPECT_FALSE(take_number(text));
  EXPECT_EQ(text, "k@");
  text = "d0000:5";
  EXPECT_EQ(take_number(text, 16), 0xd0000u);
  EXPECT_EQ(text, ":5");
  text = "20000000000000000";
  EXPECT_FALSE(take_number(text, 16));
  EXPECT_EQ(text, "20000000000000000");
}

}  // namespace
}  // namespace aril
