#include "image/code_split.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>

#include "base/code_fields.hpp"
#include "support/error.hpp"
#include "support/file.hpp"

namespace aril::tool {
namespace {

using code_fields::Header;

std::string stream(const SplitMemory& split, size_t wanted) {
  Header header;
  std::memcpy(&header, split.bytes.data(), sizeof header);
  const auto& sizes = header.regions[0].streams;
  size_t at = sizeof header;
  for (size_t i = 0; i < wanted; ++i) at += sizes[i];
  return split.bytes.substr(at, sizes[wanted]);
}

void expect_same(const std::string& memory, const std::vector<CodeRange>& code) {
  const SplitMemory split = split_code(bytes_of(memory), code);
  ASSERT_EQ(join_code(bytes_of(split.bytes), memory.size()), memory);
}

// What follows the code in these tests: its last instructions are not taken apart.
const std::string kRest(code_fields::kLongest, '\x90');

TEST(CodeSplit, TakesInstructionsApart) {
  const std::string code(
      "\x48\x8b\x44\x24\x18"                      // mov 0x18(%rsp), %rax
      "\x66\x81\xc1\x34\x12"                      // add $0x1234, %cx
      "\xf7\x05\x10\x00\x00\x00\x01\x00\x00\x00"  // testl $1, 0x10(%rip)
      "\xf7\xd8"                                  // neg %eax
      "\x48\xb8\x01\x02\x03\x04\x05\x06\x07\x08"  // movabs
      "\x0f\x84\x00\x01\x00\x00"                  // je
      "\x8b\x04\x8d\x78\x56\x34\x12"              // mov 0x12345678(, %rcx, 4), %eax
      "\x75\x05"                                  // jne
      "\x89\x47\xf8"                              // mov %eax, -8(%rdi)
      "\x6a\x07",                                 // push $7
      52);
  const SplitMemory split = split_code(bytes_of(code + kRest), {{0, code.size() + kRest.size()}});
  using namespace code_fields;
  EXPECT_EQ(stream(split, kOpcodes).substr(0, 25),
            std::string("\x48\x8b\x44\x66\x81\xc1\xf7\x05\xf7\xd8\x48\xb8\x0f\x84\x8b\x04\x75\x89"
                        "\x47\x6a\x90\x90\x90\x90\x90"));
  EXPECT_EQ(stream(split, kStackDisplacements), "\x18");
  EXPECT_EQ(stream(split, kShortDisplacements), "\xf8");
  EXPECT_EQ(stream(split, kShortJumps), "\x05");
  EXPECT_EQ(stream(split, kShortImmediates), "\x07");
  EXPECT_EQ(stream(split, kScales), "\x24\x8d");
  EXPECT_EQ(stream(split, kDisplacements), std::string("\0\0\0\x20\x12\x34\x56\x78", 8));
  EXPECT_EQ(stream(split, kImmediates), std::string("\0\0\0\1\4\3\2\1", 8));
  EXPECT_EQ(stream(split, kJumps), std::string("\0\0\1\x26", 4));
  EXPECT_EQ(stream(split, kOthers), "\x34\x12\x05\x06\x07\x08");
}

TEST(CodeSplit, MakesCallsOfOneFunctionAlike) {
  std::string code(256, '\x90');
  for (const int32_t at : {17, 101}) {
    const int32_t displacement = 200 - (at + 4);
    code[static_cast<size_t>(at) - 1] = '\xe8';
    std::memcpy(code.data() + at, &displacement, sizeof displacement);
  }
  const SplitMemory split = split_code(bytes_of(code), {{0, code.size()}});
  EXPECT_EQ(stream(split, code_fields::kCalls), std::string("\0\0\0\xc8\0\0\0\xc8", 8));
}

TEST(CodeSplit, GivesAnyBytesBack) {
  std::minstd_rand random(1);
  for (size_t size = 0; size < 700; ++size) {
    std::string memory;
    for (size_t i = 0; i < size; ++i) {
      // Mostly what looks like code: prefixes, branches, ModRM with and without SIB.
      static constexpr char kLikely[] = {'\xe8', '\x0f', '\x84', '\0', '\xff', '\x66',
                                         '\x48', '\x8b', '\x44', '\4', '\xf7', '\x81'};
      memory +=
          random() % 4 == 0 ? static_cast<char>(random()) : kLikely[random() % sizeof kLikely];
    }
    expect_same(memory, {{0, size}});
    expect_same(memory, {{size / 5, size / 3}, {size / 3 * 2, size / 4}});
    expect_same(memory, {});
  }
}

TEST(CodeSplit, LeavesLongRunsOfZeroesOut) {
  const std::string zeroes(100'000, '\0');
  const std::string memory =
      std::string(1000, '\x90') + zeroes + "data" + zeroes + "\xe8" + zeroes.substr(0, 5000);
  const std::vector<CodeRange> code = {{0, 1000}, {memory.size() - 6000, 1000}};
  EXPECT_LT(split_code(bytes_of(memory), code).bytes.size(), 10'000);
  expect_same(memory, code);
  std::string many;
  for (int i = 0; i < 40; ++i) many += "x" + zeroes.substr(0, 5000);
  expect_same(many, {{many.size() - 5000, 5000}});
}

TEST(CodeSplit, NeedsLittleMoreMemoryThanTheResult) {
  const std::string zeroes(100'000, '\0');
  // Two thirds are opcodes, which come first: when the last code is written they are used.
  std::string code;
  for (int i = 0; i < 10'000; ++i) code += "\x8b\xc1\x83\xc0\1";
  const std::string memory = code + "data" + zeroes + code;
  const SplitMemory split =
      split_code(bytes_of(memory), {{0, code.size()}, {memory.size() - code.size(), code.size()}});
  EXPECT_LT(split.gap, zeroes.size() + code.size() / 4);
  EXPECT_LT(split.gap + split.bytes.size(), memory.size() + code.size() / 4);
}

TEST(CodeSplit, RefusesDamagedBytes) {
  std::string memory(300, '\x8b');
  const SplitMemory split = split_code(bytes_of(memory), {{0, 200}});
  for (size_t size = 0; size < split.bytes.size(); ++size) {
    EXPECT_THROW(join_code(bytes_of(split.bytes).first(size), memory.size()), Error);
  }
  for (size_t i = 0; i < sizeof(Header); ++i) {
    for (const char wrong : {'\xff', '\x80', '\1'}) {
      std::string damaged = split.bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ wrong);
      try {
        join_code(bytes_of(damaged), memory.size());
      } catch (const Error&) {}
    }
  }
  EXPECT_THROW(join_code(bytes_of(split.bytes), memory.size() - 1), Error);
  EXPECT_THROW(join_code(bytes_of(split.bytes), memory.size() + 1), Error);
}

}  // namespace
}  // namespace aril::tool
