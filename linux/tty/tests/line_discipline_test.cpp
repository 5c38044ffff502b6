#include "linux/tty/line_discipline.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace aril::linux_abi {
namespace {

struct LineDisciplineTest : testing::Test, TerminalEffects {
  void echo(std::span<const std::byte> bytes) override {
    shown.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void signal(int number) override { signals.push_back(number); }
  void type(std::string_view text) {
    for (char c : text) discipline.receive(static_cast<std::byte>(c), *this);
  }
  std::string read(size_t room = 100) {
    std::string text(room, '?');
    text.resize(discipline.read(std::as_writable_bytes(std::span(text))));
    return text;
  }
  void set_raw() {
    Termios raw = discipline.settings();
    raw.local &= ~(ICANON | ECHO | ISIG);
    raw.input &= ~ICRNL;
    discipline.set_settings(raw);
  }
  LineDiscipline discipline;
  std::string shown;
  std::vector<int> signals;
};

TEST_F(LineDisciplineTest, DeliversWholeLines) {
  type("ab");
  EXPECT_FALSE(discipline.is_readable());
  type("c\rnext\n");
  EXPECT_TRUE(discipline.is_readable());
  EXPECT_EQ(read(2), "ab");
  EXPECT_TRUE(discipline.is_readable());
  EXPECT_EQ(read(), "c\n");
  EXPECT_EQ(read(), "next\n");
  EXPECT_FALSE(discipline.is_readable());
  EXPECT_EQ(shown, "abc\r\nnext\r\n");
}

TEST_F(LineDisciplineTest, Edits) {
  type("one twx\x7fo\x17three\n");
  EXPECT_EQ(read(), "one three\n");
  type("gone\x15kept\n");
  EXPECT_EQ(read(), "kept\n");
  type("\xc3\xa4\x7f!\n");
  EXPECT_EQ(read(), "!\n");
}

TEST_F(LineDisciplineTest, EndOfFile) {
  type("\x04");
  EXPECT_TRUE(discipline.is_readable());
  EXPECT_EQ(read(), "");
  EXPECT_FALSE(discipline.is_readable());
  type("half\x04");
  EXPECT_EQ(read(), "half");
  EXPECT_FALSE(discipline.is_readable());
}

TEST_F(LineDisciplineTest, Signals) {
  type("abc\x03");
  EXPECT_EQ(signals, std::vector<int>{2});
  EXPECT_EQ(shown, "abc^C");
  type("x\n");
  EXPECT_EQ(read(), "x\n");
  type("\x16\x03\n");
  EXPECT_EQ(signals.size(), 1u);
  EXPECT_EQ(read(), "\x03\n");
}

TEST_F(LineDisciplineTest, RawMode) {
  set_raw();
  type("a\r\x03");
  EXPECT_EQ(read(), "a\r\x03");
  EXPECT_TRUE(signals.empty());
  EXPECT_EQ(shown, "");
  Termios settings = discipline.settings();
  settings.characters[VMIN] = 3;
  discipline.set_settings(settings);
  type("xy");
  EXPECT_FALSE(discipline.is_readable(10));
  EXPECT_TRUE(discipline.is_readable(2));
  type("z");
  EXPECT_TRUE(discipline.is_readable(10));
}

TEST_F(LineDisciplineTest, LeavingCanonicalModeFreesTheLine) {
  type("typed");
  set_raw();
  EXPECT_EQ(read(), "typed");
}

TEST_F(LineDisciplineTest, SurvivesALongLine) {
  type(std::string(10'000, 'a') + "\n");
  EXPECT_EQ(read(20'000).size(), LineDiscipline::kLineLimit + 1);
}

TEST_F(LineDisciplineTest, TranslatesOutput) {
  std::string in = "a\nb\n", out(5, '?');
  size_t used = 0;
  EXPECT_EQ(discipline.translate_output(std::as_bytes(std::span(in)),
                                        std::as_writable_bytes(std::span(out)), used),
            3u);
  EXPECT_EQ(out.substr(0, used), "a\r\nb");
}

}  // namespace
}  // namespace aril::linux_abi
