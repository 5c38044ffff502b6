#include "specialize/system_call_rewriter.hpp"

#include <gtest/gtest.h>

#include <elf.h>

#include <cstring>
#include <string>
#include <vector>

#include "elf/elf_file.hpp"

namespace aril::tool {
namespace {

constexpr uint64_t kCode = 0x401000;

/// A static program of this code.
std::string program(std::initializer_list<uint8_t> code, uint64_t bss = 0x3000) {
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, "\x7f\x45\x4c\x46\x02\x01\x01", 7);
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_phoff = header.e_ehsize = sizeof header;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 2;
  header.e_entry = kCode;
  const Elf64_Phdr segments[] = {
      {PT_PHDR, PF_R, sizeof header, 0x400040, 0x400040, 112, 112, 8},
      {PT_LOAD, PF_R | PF_X, 0x1000, kCode, kCode, code.size(), code.size() + bss, 0x1000}};
  std::string file(0x1000, '\0');
  std::memcpy(file.data(), &header, sizeof header);
  std::memcpy(file.data() + sizeof header, segments, sizeof segments);
  for (const uint8_t byte : code) file.push_back(static_cast<char>(byte));
  return file;
}

std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

std::optional<RewrittenProgram> rewrite(const std::string& file) {
  return rewrite_system_calls(bytes(file), scan_system_calls(bytes(file)));
}

/// What a jump at `address` of the rewritten file leads to, as the bytes of a stub.
std::string stub_at(const std::string& file, uint64_t address, uint64_t& stub) {
  const ElfFile elf = parse_elf(bytes(file));
  const uint64_t at = offset_of_address(elf, address).value();
  EXPECT_EQ(static_cast<uint8_t>(file[at]), 0xe9);
  stub = address + 5 + static_cast<uint64_t>(int64_t{*read_at<int32_t>(bytes(file), at + 1)});
  return file.substr(offset_of_address(elf, stub).value(), 32);
}

TEST(SystemCallRewriter, AConstantNumber) {
  // mov $39, %eax; syscall; ret
  const std::string file = program({0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3});
  const auto result = rewrite(file);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->jumps, 1u);
  uint64_t address = 0;
  const std::string stub = stub_at(result->file, kCode, address);
  EXPECT_EQ(stub.substr(0, 5), file.substr(0x1000, 5));
  EXPECT_EQ(stub.substr(5, 3), "\x48\x8d\x0d");
  const auto back = *read_at<int32_t>(bytes(stub), 8);
  EXPECT_EQ(address + 12 + static_cast<uint64_t>(int64_t{back}), kCode + 7);
  EXPECT_EQ(stub.substr(12, 8), std::string("\x65\xff\x24\x25\x50\0\0\0", 8));
  // The instruction itself is still there.
  EXPECT_EQ(result->file.substr(0x1005, 3), file.substr(0x1005, 3));
}

TEST(SystemCallRewriter, ANewSegmentBehindEverything) {
  const std::string file = program({0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3}, 0x12345);
  const auto result = rewrite(file);
  ASSERT_TRUE(result);
  const ElfFile elf = parse_elf(bytes(result->file));
  ASSERT_EQ(elf.segments.size(), 2u);
  const ElfSegment& added = elf.segments[1];
  EXPECT_EQ(added.flags, uint32_t{PF_R | PF_X});
  EXPECT_GE(added.address / 4096 * 4096, kCode + 8 + 0x12345);
  EXPECT_EQ(added.address % 4096, added.offset % 4096);
  EXPECT_EQ(added.offset + added.file_size, result->file.size());
  // The program finds its headers where PT_PHDR says they are.
  const auto header = *read_at<Elf64_Ehdr>(bytes(result->file), 0);
  EXPECT_EQ(header.e_phoff, added.offset);
  const auto own = *read_at<Elf64_Phdr>(bytes(result->file), header.e_phoff);
  EXPECT_EQ(own.p_type, uint32_t{PT_PHDR});
  EXPECT_EQ(own.p_vaddr, added.address);
  EXPECT_EQ(own.p_filesz, 3 * sizeof(Elf64_Phdr));
}

TEST(SystemCallRewriter, MovesAsManyInstructionsAsAJumpNeeds) {
  // entry: mov $12, %edi; call f; ret;  f: mov %rdi, %rax; mov %rsi, %rdi; syscall; ret
  const std::string file = program({0xbf, 12,   0,    0,    0,    0xe8, 1,    0,    0,    0,
                                    0xc3, 0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x0f, 0x05, 0xc3});
  const auto result = rewrite(file);
  ASSERT_TRUE(result);
  uint64_t address = 0;
  const std::string stub = stub_at(result->file, kCode + 11, address);
  EXPECT_EQ(stub.substr(0, 6), file.substr(0x100b, 6));
  EXPECT_EQ(static_cast<uint8_t>(result->file[0x1010]), 0xcc);
  EXPECT_EQ(result->file.substr(0x1011, 2), "\x0f\x05");
}

TEST(SystemCallRewriter, LeavesWhatABranchReaches) {
  // je +3; mov %rdi, %rax; l: mov %rsi, %rdi; syscall; ret, of which l is the branch's target
  EXPECT_FALSE(rewrite(program(
      {0xbf, 12, 0, 0, 0, 0x74, 0x03, 0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x0f, 0x05, 0xc3})));
}

TEST(SystemCallRewriter, LeavesFunctionsWhoseBranchesNobodyKnows) {
  // mov $12, %edi; mov %rdi, %rax; mov %rsi, %rdi; syscall; jmp *%rdx
  EXPECT_FALSE(rewrite(
      program({0xbf, 12, 0, 0, 0, 0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x0f, 0x05, 0xff, 0xe2})));
}

TEST(SystemCallRewriter, LeavesWhatDependsOnItsPlace) {
  // mov 1(%rip), %eax; syscall; ret; the number
  EXPECT_FALSE(rewrite(program({0x8b, 0x05, 3, 0, 0, 0, 0x0f, 0x05, 0xc3, 39, 0, 0, 0})));
}

TEST(SystemCallRewriter, LeavesWhatUnwindersLookFor) {
  // mov $15, %rax; syscall
  EXPECT_FALSE(rewrite(program({0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05})));
}

TEST(SystemCallRewriter, LeavesProgramsThatChangeGs) {
  // mov $39, %eax; syscall; wrgsbase %rax; ret
  EXPECT_FALSE(
      rewrite(program({0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xf3, 0x48, 0x0f, 0xae, 0xd8, 0xc3})));
}

}  // namespace
}  // namespace aril::tool
