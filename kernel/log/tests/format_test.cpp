#include "kernel/log/format.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <string>

#include "kernel/log/log.hpp"

namespace aril {
namespace {

template <typename... Args>
std::string formatted(const char* format, Args... args) {
  std::array<char, 256> buffer;
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wformat-security"
#pragma clang diagnostic ignored "-Wformat-nonliteral"
  return std::string(format_to(buffer, format, args...));
#pragma clang diagnostic pop
}

// The C library is the oracle for everything that both understand.
template <typename... Args>
void expect_as_printf(const char* format, Args... args) {
  std::array<char, 256> expected;
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wformat-security"
#pragma clang diagnostic ignored "-Wformat-nonliteral"
  std::snprintf(expected.data(), expected.size(), format, args...);
#pragma clang diagnostic pop
  EXPECT_EQ(formatted(format, args...), expected.data()) << format;
}

TEST(Format, Integers) {
  for (const char* format : {"%d", "%5d", "%-5d|", "%05d", "%+d", "% d", "%.3d", "%8.3d", "%.0d"}) {
    for (int value : {0, 1, -1, 42, -12345, INT32_MAX, INT32_MIN}) expect_as_printf(format, value);
  }
  for (const char* format : {"%u", "%x", "%X", "%#x", "%08x", "%#10x", "%o"}) {
    for (unsigned value : {0u, 1u, 255u, 0xdeadbeefu, UINT32_MAX}) expect_as_printf(format, value);
  }
  for (long value : {0l, -1l, INT64_MAX, INT64_MIN}) {
    expect_as_printf("%ld", value);
    expect_as_printf("%lx", value);
    expect_as_printf("%20ld", value);
  }
  expect_as_printf("%llu", ~0ull);
  expect_as_printf("%zu", sizeof(int));
  expect_as_printf("%hhx %hx", 0x1234, 0x12345678);
}

TEST(Format, Text) {
  expect_as_printf("%s", "hello");
  expect_as_printf("%10s|", "hello");
  expect_as_printf("%-10s|", "hello");
  expect_as_printf("%.2s", "hello");
  expect_as_printf("%.*s", 3, "hello");
  expect_as_printf("%*d", 6, 42);
  expect_as_printf("%*d|", -6, 42);
  expect_as_printf("%c%c", 'o', 'k');
  expect_as_printf("100%%");
  EXPECT_EQ(formatted("%s", static_cast<const char*>(nullptr)), "(null)");
  EXPECT_EQ(formatted("%p", reinterpret_cast<void*>(0x1234)), "0x1234");
}

TEST(Format, IsCutToTheBuffer) {
  std::array<char, 4> buffer;
  EXPECT_EQ(format_to(buffer, "%s", "abcdefgh"), "abcd");
  EXPECT_EQ(format_to(buffer, "%100d", 7), "    ");
  EXPECT_EQ(format_to({}, "%d", 7), "");
}

TEST(Format, EndsWithNulWhereThereIsRoom) {
  std::array<char, 4> buffer{'x', 'x', 'x', 'x'};
  format_to(buffer, "ab");
  EXPECT_EQ(buffer[2], '\0');
  EXPECT_EQ(buffer[3], 'x');
}

TEST(Format, SurvivesBadDirectives) {
  EXPECT_EQ(formatted("%"), "%");
  EXPECT_EQ(formatted("%q"), "%q");
}

TEST(Log, KeepsLinesInOrder) {
  std::array<char, 200> buffer;
  LogLine line;
  uint64_t next = 0;
  while (read_log(next, buffer, line)) next = line.sequence + 1;
  ARIL_LOG_INFO("test", "one %d", 1);
  ARIL_LOG_ERROR("test", "two");
  ASSERT_TRUE(read_log(next, buffer, line));
  EXPECT_EQ(line.text, "test: one 1");
  EXPECT_EQ(line.level, LogLevel::kInfo);
  ASSERT_TRUE(read_log(line.sequence + 1, buffer, line));
  EXPECT_EQ(line.text, "test: two");
  EXPECT_FALSE(read_log(line.sequence + 1, buffer, line));
}

TEST(Log, OldLinesAreOverwritten) {
  std::array<char, 200> buffer;
  LogLine line;
  for (int i = 0; i < 1000; ++i) ARIL_LOG_DEBUG("test", "line %d", i);
  ASSERT_TRUE(read_log(0, buffer, line));
  EXPECT_GT(line.sequence, 0u);
  uint64_t last = 0;
  while (read_log(last, buffer, line)) last = line.sequence + 1;
  EXPECT_EQ(line.text, "test: line 999");
}

}  // namespace
}  // namespace aril
