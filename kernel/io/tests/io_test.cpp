#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "kernel/io/file.hpp"

namespace aril {
namespace {

std::span<std::byte> bytes_of(std::span<char> text) { return std::as_writable_bytes(text); }

uint64_t address_of(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

TEST(IoBuffer, CopiesThroughSegments) {
  char a[3], b[5];
  IoBuffer::Segment segments[] = {{address_of(a), 3}, {0, 0}, {address_of(b), 5}};
  IoBuffer buffer(segments, IoBuffer::Memory::kApplication);
  EXPECT_EQ(buffer.remaining(), 8u);
  char text[] = "abcdefgh";
  EXPECT_EQ(*buffer.copy_out(bytes_of(std::span(text, 2))), 2u);
  EXPECT_EQ(*buffer.copy_out(bytes_of(std::span(text + 2, 4))), 4u);
  EXPECT_EQ(buffer.consumed(), 6u);
  EXPECT_EQ(*buffer.zero_out(100), 2u);
  EXPECT_EQ(*buffer.copy_out(bytes_of(std::span(text))), 0u);
  EXPECT_EQ(std::memcmp(a, "abc", 3), 0);
  EXPECT_EQ(std::memcmp(b, "def\0\0", 5), 0);
}

TEST(IoBuffer, TruncateAndKernelMemory) {
  char data[] = "0123456789";
  IoBuffer::Segment storage;
  IoBuffer buffer = IoBuffer::kernel(storage, bytes_of(std::span(data, 10)));
  buffer.truncate(4);
  char out[10] = {};
  EXPECT_EQ(*buffer.copy_in(bytes_of(out)), 4u);
  EXPECT_STREQ(out, "0123");
  EXPECT_EQ(buffer.remaining(), 0u);
}

TEST(IoBuffer, FaultOnlyWhenNothingMoved) {
  char a[3] = {'x', 'y', 'z'};
  IoBuffer::Segment segments[] = {{address_of(a), 3}, {0xffff'8000'0000'0000, 5}};
  IoBuffer buffer(segments, IoBuffer::Memory::kApplication);
  char out[8];
  EXPECT_EQ(*buffer.copy_in(bytes_of(out)), 3u);
  EXPECT_EQ(buffer.copy_in(bytes_of(out)).error(), Errno::kFault);
  EXPECT_EQ(buffer.consumed(), 3u);
}

TEST(UserCopy, RefusesWhatIsNotTheApplications) {
  std::array<std::byte, 16> bytes;
  EXPECT_EQ(copy_from_user(bytes, arch::kApplicationTop - 8).error(), Errno::kFault);
  EXPECT_EQ(copy_from_user(bytes, ~uint64_t{0} - 8).error(), Errno::kFault);
  EXPECT_EQ(copy_to_user(0, bytes).error(), Errno::kFault);
  EXPECT_TRUE(copy_from_user(std::span<std::byte>(), 0));
  EXPECT_EQ(zero_user(8, 8).error(), Errno::kFault);
  EXPECT_EQ(load_user_u32(arch::kApplicationTop).error(), Errno::kFault);
}

TEST(UserCopy, Strings) {
  const char text[] = "hello";
  char out[6];
  EXPECT_EQ(*copy_string_from_user(out, address_of(text)), 5u);
  EXPECT_EQ(copy_string_from_user(std::span(out, 5), address_of(text)).error(),
            Errno::kNameTooLong);
  EXPECT_EQ(*string_from_user(address_of(text), 5), "hello");
  EXPECT_EQ(string_from_user(address_of(text), 4).error(), Errno::kNameTooLong);
  std::string longer(700, 'q');
  EXPECT_EQ(*string_from_user(address_of(longer.c_str())), longer);
}

TEST(UserCopy, CompareExchange) {
  alignas(4) uint32_t word = 5;
  uint32_t expected = 4;
  EXPECT_FALSE(*compare_exchange_user_u32(address_of(&word), expected, 9));
  EXPECT_EQ(expected, 5u);
  EXPECT_TRUE(*compare_exchange_user_u32(address_of(&word), expected, 9));
  EXPECT_EQ(*load_user_u32(address_of(&word)), 9u);
}

}  // namespace
}  // namespace aril
