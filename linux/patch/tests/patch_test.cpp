#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "linux/patch/call_site.hpp"
#include "linux/patch/instruction_length.hpp"

namespace aril::linux_abi {
namespace {

using Bytes = std::vector<uint8_t>;

TEST(InstructionLength, KnowsEveryForm) {
  struct Case {
    const char* text;
    Bytes code;
  };
  const Case cases[] = {
      {"nop", {0x90}},
      {"ret", {0xc3}},
      {"push %r12", {0x41, 0x54}},
      {"mov $1,%eax", {0xb8, 1, 0, 0, 0}},
      {"mov $1,%ax", {0x66, 0xb8, 1, 0}},
      {"movabs $1,%rax", {0x48, 0xb8, 1, 0, 0, 0, 0, 0, 0, 0}},
      {"mov $1,%rax", {0x48, 0xc7, 0xc0, 1, 0, 0, 0}},
      {"syscall", {0x0f, 0x05}},
      {"mov %rsp,%rbp", {0x48, 0x89, 0xe5}},
      {"mov 8(%rsp),%rax", {0x48, 0x8b, 0x44, 0x24, 8}},
      {"lea 0(,%rax,8),%rdx", {0x48, 0x8d, 0x14, 0xc5, 0, 0, 0, 0}},
      {"mov x(%rip),%eax", {0x8b, 0x05, 1, 2, 3, 4}},
      {"movl $5,-0x48(%rbp)", {0xc7, 0x45, 0xb8, 5, 0, 0, 0}},
      {"movw $5,(%rax)", {0x66, 0xc7, 0x00, 5, 0}},
      {"testb $1,(%rdi)", {0xf6, 0x07, 1}},
      {"not %eax", {0xf7, 0xd0}},
      {"test $1,%eax", {0xf7, 0xc0, 1, 0, 0, 0}},
      {"call rel32", {0xe8, 0, 0, 0, 0}},
      {"jmp rel8", {0xeb, 0xfe}},
      {"jne rel32", {0x0f, 0x85, 0, 0, 0, 0}},
      {"nopw 0(%rax,%rax,1)", {0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00}},
      {"cs nopw 0(%rax,%rax,1)", {0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}},
      {"endbr64", {0xf3, 0x0f, 0x1e, 0xfa}},
      {"lock cmpxchg %edx,(%rdi)", {0xf0, 0x0f, 0xb1, 0x17}},
      {"mov %fs:0x10,%rax", {0x64, 0x48, 0x8b, 0x04, 0x25, 0x10, 0, 0, 0}},
      {"pshufd $0,%xmm0,%xmm0", {0x66, 0x0f, 0x70, 0xc0, 0}},
      {"pshufb", {0x66, 0x0f, 0x38, 0x00, 0xc1}},
      {"palignr $4", {0x66, 0x0f, 0x3a, 0x0f, 0xc1, 4}},
      {"vmovdqu (%rdi),%ymm0", {0xc5, 0xfe, 0x6f, 0x07}},
      {"vpbroadcastb %xmm0,%ymm0", {0xc4, 0xe2, 0x7d, 0x78, 0xc0}},
      {"vzeroupper", {0xc5, 0xf8, 0x77}},
      {"vmovdqu64 64(%rdi),%zmm16", {0x62, 0xe1, 0xfe, 0x48, 0x6f, 0x47, 0x01}},
      {"enter", {0xc8, 1, 0, 0}},
      {"movabs %al,moffs", {0xa2, 1, 2, 3, 4, 5, 6, 7, 8}},
  };
  for (const Case& c : cases) {
    auto length = instruction_length(c.code);
    ASSERT_TRUE(length.has_value()) << c.text;
    EXPECT_EQ(*length, c.code.size()) << c.text;
    // One byte short of it is no instruction.
    EXPECT_FALSE(instruction_length(std::span(c.code).first(c.code.size() - 1))) << c.text;
  }
}

TEST(InstructionLength, RefusesWhatLongModeHasNot) {
  for (uint8_t opcode : {0x06, 0x0e, 0x27, 0x37, 0x60, 0x9a, 0xce, 0xd4, 0xea})
    EXPECT_FALSE(instruction_length(Bytes{opcode, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_FALSE(instruction_length(Bytes(16, 0x66)));
  EXPECT_FALSE(instruction_length(Bytes{}));
}

// Enough ordinary code for decoding to synchronise in, then `tail`.
Bytes after_ordinary_code(const Bytes& tail) {
  const Bytes ordinary = {0x48, 0x89, 0xe5, 0x41, 0x54, 0x53, 0x48, 0x8b, 0x44, 0x24, 0x08};
  Bytes code;
  while (code.size() < 64) code.insert(code.end(), ordinary.begin(), ordinary.end());
  code.insert(code.end(), tail.begin(), tail.end());
  return code;
}

TEST(CallSite, TakesBothFormsOfMov) {
  auto site = find_call_site(after_ordinary_code({0xb8, 39, 0, 0, 0}), 39);
  ASSERT_TRUE(site);
  EXPECT_EQ(site->mov_size, 5u);
  site = find_call_site(after_ordinary_code({0x48, 0xc7, 0xc0, 39, 0, 0, 0}), 39);
  ASSERT_TRUE(site);
  EXPECT_EQ(site->mov_size, 7u);
}

TEST(CallSite, WantsTheNumberThatWasPassed) {
  EXPECT_FALSE(find_call_site(after_ordinary_code({0xb8, 39, 0, 0, 0}), 40));
  EXPECT_FALSE(find_call_site(after_ordinary_code({0x89, 0xf8, 0x90, 0x90, 0x90}), 39));
}

TEST(CallSite, RefusesTheTailOfALongerInstruction) {
  // movl $39, -0x48(%rbp): its last five bytes look like mov $39, %eax.
  EXPECT_FALSE(find_call_site(after_ordinary_code({0xc7, 0x45, 0xb8, 39, 0, 0, 0}), 39));
  // movabs $..., %rcx with b8 inside the immediate.
  EXPECT_FALSE(find_call_site(after_ordinary_code({0x48, 0xb9, 1, 2, 3, 0xb8, 39, 0, 0, 0}), 39));
}

TEST(CallSite, RefusesWithoutEnoughCodeBefore) {
  EXPECT_FALSE(find_call_site(Bytes{0xb8, 39, 0, 0, 0}, 39));
  EXPECT_FALSE(find_call_site(Bytes{}, 39));
}

TEST(CallSite, TakesTheShortWayToZero) {  // as glibc's read does
  auto site = find_call_site(after_ordinary_code({0x31, 0xc0}), 0);
  ASSERT_TRUE(site);
  EXPECT_TRUE(site->is_short());
  EXPECT_FALSE(find_call_site(after_ordinary_code({0x31, 0xc0}), 1));
  EXPECT_FALSE(find_call_site(after_ordinary_code({0x31, 0xc8}), 0));
}

TEST(CallSite, TakesConstantsForOtherRegisters) {  // as glibc's open and getrlimit do
  struct Case {
    Bytes code;
    unsigned size;
  };
  const Case cases[] = {
      {{0xbf, 0x9c, 0xff, 0xff, 0xff}, 5},  // mov $-100,%edi
      {{0x41, 0xba, 8, 0, 0, 0}, 6},        // mov $8,%r10d
      {{0x31, 0xff}, 2},                    // xor %edi,%edi
      {{0x33, 0xd2}, 2},                    // xor %edx,%edx
  };
  for (const Case& c : cases) {
    auto site = find_call_site(after_ordinary_code(c.code), 257);
    ASSERT_TRUE(site.has_value());
    EXPECT_EQ(site->mov_size, c.size);
  }
  // Of two registers; and part of a mov of eight bytes.
  EXPECT_FALSE(find_call_site(after_ordinary_code({0x31, 0xfe}), 257));
  EXPECT_FALSE(find_call_site(after_ordinary_code({0x48, 0xbe, 1, 2, 3, 0xbf, 4, 0, 0, 0}), 257));
}

TEST(CallSite, FindsPaddingThatNothingReaches) {
  // cmp $-4096, %rax; ja; ret; then ten bytes of no-op
  const Bytes compare = {0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff, 0x77, 0x10};
  const Bytes padding = {0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0};
  auto code = [&](Bytes between) {
    Bytes all = compare;
    all.insert(all.end(), between.begin(), between.end());
    all.insert(all.end(), padding.begin(), padding.end());
    return all;
  };
  auto found = find_padding(code({0xc3}));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->offset, compare.size() + 1);
  EXPECT_EQ(found->size, padding.size());
  EXPECT_TRUE(find_padding(code({0xeb, 0x20})));
  EXPECT_FALSE(find_padding(code({})));            // falls into it
  EXPECT_FALSE(find_padding(code({0xc3, 0x90})));  // a no-op of one byte is reached from somewhere
  EXPECT_FALSE(find_padding(code({0x06})));        // no instruction
  const Bytes cut = code({0xc3});
  EXPECT_FALSE(find_padding(std::span(cut).first(12)));
  EXPECT_FALSE(find_padding(Bytes{0xc3, 0x0f, 0x1f, 0x00, 0xc3}));  // too small
}

TEST(CallSite, ShortJumpsGoForward) {
  auto jump = short_jump_bytes(0x1000, 0x1000 + 2 + 127);
  ASSERT_TRUE(jump);
  EXPECT_EQ(*jump, (std::array<uint8_t, 2>{0xeb, 0x7f}));
  EXPECT_FALSE(short_jump_bytes(0x1000, 0x1000 + 2 + 128));
  EXPECT_FALSE(short_jump_bytes(0x1000, 0x1000));
}

TEST(CallSite, JumpsOnlyWithinReach) {
  auto jump = jump_bytes(0x1000, 0x2000);
  ASSERT_TRUE(jump);
  EXPECT_EQ(*jump, (std::array<uint8_t, 5>{0xe9, 0xfb, 0x0f, 0, 0}));
  EXPECT_TRUE(jump_bytes(0x80000000, 0x1000));
  EXPECT_FALSE(jump_bytes(0x1000, 0x100000000));
}

TEST(CallSite, StubRepeatsTheMovAndReturnsBehindTheCall) {
  const Bytes mov = {0xb8, 39, 0, 0, 0};
  auto stub = make_stub(mov, 0x10020, 0x401007, 0x10000);
  EXPECT_EQ(std::memcmp(stub.data(), mov.data(), mov.size()), 0);
  EXPECT_EQ(stub[5], 0x48);
  EXPECT_EQ(stub[6], 0xb9);
  uint64_t return_address;
  std::memcpy(&return_address, &stub[7], sizeof return_address);
  EXPECT_EQ(return_address, 0x401007u);
  int32_t distance;
  std::memcpy(&distance, &stub[17], sizeof distance);
  EXPECT_EQ(0x10020 + 21 + distance, 0x10000);
}

}  // namespace
}  // namespace aril::linux_abi
