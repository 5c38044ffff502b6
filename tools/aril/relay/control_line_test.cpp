#include "relay/control_line.hpp"

#include <gtest/gtest.h>

namespace aril::tool {
namespace {

using Kind = ControlRecord::Kind;

TEST(ControlLine, ReadsStepsOfTheBoot) {
  ControlLine line;
  const auto all = line.feed(
      "\x1e"
      "boot 1234 mount root\n\x1e"
      "boot 12\n\x1e"
      "boot x y\n");
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].kind, Kind::kBoot);
  EXPECT_EQ(all[0].number, 1234u);
  EXPECT_EQ(all[0].text, "mount root");
  EXPECT_EQ(all[1].kind, Kind::kLog);
  EXPECT_EQ(all[2].kind, Kind::kLog);
}

TEST(ControlLine, ReadsRecordsInAnyPieces) {
  const std::string_view bytes =
      "boot\r\n\x1e"
      " listening 80\n\x1estrace read(3) = 0\n\x1ereport a  b\n\x1e"
      "exit 139\n";
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    ControlLine line;
    std::vector<ControlRecord> all;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      for (ControlRecord& record : line.feed(bytes.substr(at, piece))) all.push_back(record);
    }
    ASSERT_EQ(all.size(), 5u);
    EXPECT_EQ(all[0].kind, Kind::kLog);
    EXPECT_EQ(all[0].text, "boot");
    EXPECT_EQ(all[1].kind, Kind::kListening);
    EXPECT_EQ(all[1].number, 80u);
    EXPECT_EQ(all[2].text, "read(3) = 0");
    EXPECT_EQ(all[3].kind, Kind::kReport);
    EXPECT_EQ(all[3].text, "a  b");
    EXPECT_EQ(all[4].number, 139u);
  }
}

TEST(ControlLine, MalformedRecordsAreLogLines) {
  for (const char* text : {"\x1e"
                           "exit\n",
                           "\x1e"
                           "exit 256\n",
                           "\x1e"
                           "exit -1\n",
                           "\x1e"
                           "exit 1x\n",
                           "\x1elistening 65536\n", "\x1enothing\n"}) {
    ControlLine line;
    const auto records = line.feed(text);
    ASSERT_EQ(records.size(), 1u) << text;
    EXPECT_EQ(records[0].kind, Kind::kLog) << text;
  }
}

TEST(ControlLine, ARecordEndsAnUnfinishedLine) {
  ControlLine line;
  const auto records = line.feed(
      "half\x1e"
      "exit 0\n");
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].text, "half");
  EXPECT_EQ(records[1].kind, Kind::kExit);
}

TEST(ControlLine, LinesAreLimited) {
  ControlLine line;
  size_t longest = 0;
  for (const auto& record : line.feed(std::string(3 * ControlLine::kLongestLine, 'x'))) {
    longest = std::max(longest, record.text.size());
  }
  EXPECT_EQ(longest, ControlLine::kLongestLine);
  EXPECT_EQ(line.finish().size(), 1u);
  EXPECT_TRUE(line.finish().empty());
}

}  // namespace
}  // namespace aril::tool
