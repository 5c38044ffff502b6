#include <gtest/gtest.h>

#include "platform/common/control_line.hpp"

namespace aril::platform {
namespace {

TEST(ControlCommand, Commands) {
  auto signal = parse_control_command("signal 15");
  ASSERT_TRUE(signal.has_value());
  EXPECT_EQ(std::get<SignalCommand>(*signal).number, 15);
  auto end = parse_control_command("eof 12345678901");
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(std::get<EndOfInputCommand>(*end).count, 12345678901u);
  auto window = parse_control_command("winsize 132 50");
  ASSERT_TRUE(window.has_value());
  EXPECT_EQ(std::get<WindowCommand>(*window).columns, 132);
  EXPECT_EQ(std::get<WindowCommand>(*window).rows, 50);
}

TEST(ControlCommand, Nonsense) {
  for (const char* line :
       {"", " ", "signal", "signal x", "signal 0", "signal 65", "signal 1 2", "eof", "eof -1",
        "winsize 80", "winsize 80 24 1", "winsize 80 70000", "SIGNAL 1", "exit 0"})
    EXPECT_FALSE(parse_control_command(line).has_value()) << line;
}

}  // namespace
}  // namespace aril::platform
