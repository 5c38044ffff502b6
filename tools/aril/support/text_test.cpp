#include "support/text.hpp"

#include <gtest/gtest.h>

namespace aril::tool {
namespace {

TEST(PercentEncoding, EscapesWhatTheCommandLineCannotHold) {
  EXPECT_EQ(percent_encode("a b\"%\n\xff"), "a%20b%22%25%0A%FF");
  EXPECT_EQ(percent_encode("A=b:/,;!~"), "A=b:/,;!~");
}

TEST(PercentEncoding, RoundTripsEveryByte) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  EXPECT_EQ(percent_decode(percent_encode(all)), all);
}

TEST(PercentEncoding, RefusesBrokenEscapes) {
  EXPECT_FALSE(percent_decode("%"));
  EXPECT_FALSE(percent_decode("%4"));
  EXPECT_FALSE(percent_decode("%4g"));
  EXPECT_FALSE(percent_decode("%-1"));
}

TEST(ParseNumber, TakesWholeNumbersOnly) {
  EXPECT_EQ(parse_number("10"), 10u);
  EXPECT_EQ(parse_number("0x10"), 16u);
  for (const char* bad : {"", "0x", "-1", "1 ", "18446744073709551616"}) {
    EXPECT_FALSE(parse_number(bad)) << bad;
  }
}

TEST(Nearest, FindsTyposOnly) {
  EXPECT_EQ(nearest("progam", {"program", "ports"}), "program");
  EXPECT_FALSE(nearest("zzz", {"program", "ports"}));
}

TEST(Split, KeepsEmptyParts) {
  EXPECT_EQ(split("a::b", ':'), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_EQ(split("", ':'), (std::vector<std::string>{""}));
}

}  // namespace
}  // namespace aril::tool
