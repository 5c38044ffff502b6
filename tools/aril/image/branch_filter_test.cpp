#include "image/branch_filter.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <string>

namespace aril::tool {
namespace {

std::span<std::byte> bytes(std::string& text) { return std::as_writable_bytes(std::span(text)); }

TEST(BranchFilter, MakesCallsOfOneFunctionAlike) {
  std::string code(256, '\x90');
  for (const int32_t at : {17, 101}) {
    const int32_t displacement = 200 - at;
    code[static_cast<size_t>(at) - 1] = '\xe8';
    std::memcpy(code.data() + at, &displacement, sizeof displacement);
  }
  filter_branches(bytes(code));
  EXPECT_EQ(code.substr(17, 4), std::string("\0\0\0\xc8", 4));
  EXPECT_EQ(code.substr(101, 4), code.substr(17, 4));
}

TEST(BranchFilter, GivesAnyBytesBack) {
  std::minstd_rand random(1);
  for (size_t size = 0; size < 600; ++size) {
    std::string code;
    for (size_t i = 0; i < size; ++i) {
      // Mostly what looks like branches over short distances, forwards and back.
      static constexpr char kLikely[] = {'\xe8', '\xe9', '\x0f', '\x84', '\0', '\0', '\1', '\xff'};
      code += kLikely[random() % sizeof kLikely];
    }
    std::string copy = code;
    filter_branches(bytes(copy));
    unfilter_branches(bytes(copy));
    ASSERT_EQ(copy, code);
  }
}

}  // namespace
}  // namespace aril::tool
