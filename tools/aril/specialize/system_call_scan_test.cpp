#include "specialize/system_call_scan.hpp"

#include <gtest/gtest.h>

#include <elf.h>

#include <cstring>
#include <string>

namespace aril::tool {
namespace {

SystemCallScan scan(std::initializer_list<uint8_t> code) {
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident,
              "\x7f"
              "ELF\x02\x01\x01",
              7);
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_phoff = sizeof header;
  header.e_ehsize = sizeof header;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 1;
  header.e_entry = 0x401000;
  Elf64_Phdr segment = {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_offset = 0x1000};
  segment.p_vaddr = segment.p_paddr = 0x401000;
  segment.p_filesz = segment.p_memsz = code.size();
  segment.p_align = 0x1000;
  std::string file(0x1000, '\0');
  std::memcpy(file.data(), &header, sizeof header);
  std::memcpy(file.data() + sizeof header, &segment, sizeof segment);
  for (const uint8_t byte : code) file.push_back(static_cast<char>(byte));
  return scan_system_calls(std::as_bytes(std::span(file)));
}

TEST(SystemCallScan, FindsAConstant) {
  // mov $60, %eax; syscall; ret
  const SystemCallScan found = scan({0xb8, 60, 0, 0, 0, 0x0f, 0x05, 0xc3});
  EXPECT_EQ(found.numbers, std::set<uint32_t>({60}));
  EXPECT_EQ(found.unresolved, 0u);
}

TEST(SystemCallScan, FollowsMovesAndBothSidesOfABranch) {
  // mov $1, %r8d; test %edi, %edi; je +6; mov $20, %r8d; mov %r8, %rax; syscall; ret
  const SystemCallScan found = scan({0x41, 0xb8, 1, 0, 0, 0,    0x85, 0xff, 0x74, 0x06, 0x41,
                                     0xb8, 20,   0, 0, 0, 0x4c, 0x89, 0xc0, 0x0f, 0x05, 0xc3});
  EXPECT_EQ(found.numbers, std::set<uint32_t>({1, 20}));
  EXPECT_EQ(found.unresolved, 0u);
}

TEST(SystemCallScan, KnowsWhatAComparisonFound) {
  // mov (%rdi), %rax; test %rax, %rax; je +5; mov $19, %eax; syscall; ret: read or readv, as musl
  // has it
  SystemCallScan found =
      scan({0x48, 0x8b, 0x07, 0x48, 0x85, 0xc0, 0x74, 0x05, 0xb8, 19, 0, 0, 0, 0x0f, 0x05, 0xc3});
  EXPECT_EQ(found.numbers, std::set<uint32_t>({0, 19}));
  EXPECT_EQ(found.unresolved, 0u);
  // mov (%rdi), %eax; cmp $3, %eax; jne +2; syscall; ret
  found = scan({0x8b, 0x07, 0x83, 0xf8, 0x03, 0x75, 0x02, 0x0f, 0x05, 0xc3});
  EXPECT_EQ(found.numbers, std::set<uint32_t>({3}));
  // The other side: it is anything but that.
  found = scan({0x8b, 0x07, 0x83, 0xf8, 0x03, 0x74, 0x02, 0x0f, 0x05, 0xc3});
  EXPECT_EQ(found.numbers, std::set<uint32_t>());
  EXPECT_EQ(found.unresolved, 1u);
}

TEST(SystemCallScan, FollowsArgumentsToCallers) {
  // entry: mov $231, %edi; call f; ret;  f: mov %rdi, %rax; syscall; ret
  const SystemCallScan found =
      scan({0xbf, 231, 0, 0, 0, 0xe8, 1, 0, 0, 0, 0xc3, 0x48, 0x89, 0xf8, 0x0f, 0x05, 0xc3});
  EXPECT_EQ(found.numbers, std::set<uint32_t>({231}));
}

TEST(SystemCallScan, KnowsAddressFamilies) {
  // mov $2, %edi; mov $41, %eax; syscall; ret
  const SystemCallScan found = scan({0xbf, 2, 0, 0, 0, 0xb8, 41, 0, 0, 0, 0x0f, 0x05, 0xc3});
  ASSERT_TRUE(found.socket_families);
  EXPECT_EQ(*found.socket_families, std::set<uint32_t>({2}));
}

TEST(SystemCallScan, KnowsRawSockets) {
  const auto may_make_raw = [](uint8_t type, uint8_t protocol) {
    // mov $protocol, %edx; mov $type, %esi; mov $2, %edi; mov $41, %eax; syscall; ret
    return scan({0xba, protocol, 0, 0,    0,  0xbe, type, 0, 0,    0,    0xbf, 2,
                 0,    0,        0, 0xb8, 41, 0,    0,    0, 0x0f, 0x05, 0xc3})
        .may_make_raw_sockets;
  };
  EXPECT_FALSE(may_make_raw(1, 0));
  EXPECT_FALSE(may_make_raw(2, 0));
  EXPECT_FALSE(may_make_raw(2, 17));
  EXPECT_TRUE(may_make_raw(2, 1));
  EXPECT_TRUE(may_make_raw(3, 17));
  // mov $0x80001, %esi; and $0xfff7f7ff, %esi; mov $41, %eax; syscall; ret: SOCK_CLOEXEC taken off
  EXPECT_FALSE(scan({0xbe, 1, 0, 8, 0, 0x81, 0xe6, 0xff, 0xf7, 0xf7, 0xff, 0xb8, 41, 0, 0, 0, 0x0f,
                     0x05, 0xc3})
                   .may_make_raw_sockets);
  // mov $1, %esi; or $0x800, %esi; mov $41, %eax; syscall; ret
  EXPECT_FALSE(scan({0xbe, 1, 0, 0, 0, 0x81, 0xce, 0, 8, 0, 0, 0xb8, 41, 0, 0, 0, 0x0f, 0x05, 0xc3})
                   .may_make_raw_sockets);
  // mov %r9, %rsi; mov $41, %eax; syscall; ret: not known
  EXPECT_TRUE(scan({0x4c, 0x89, 0xce, 0xb8, 41, 0, 0, 0, 0x0f, 0x05, 0xc3}).may_make_raw_sockets);
}

TEST(SystemCallScan, KnowsOptionsAndCommands) {
  // mov $26, %edx; mov $41, %esi; mov $54, %eax; syscall; ret
  SystemCallScan found =
      scan({0xba, 26, 0, 0, 0, 0xbe, 41, 0, 0, 0, 0xb8, 54, 0, 0, 0, 0x0f, 0x05, 0xc3});
  EXPECT_EQ(found.option_levels, std::set<uint32_t>({41}));
  EXPECT_EQ(found.option_names, std::set<uint32_t>({26}));
  EXPECT_EQ(found.fcntl_commands, std::set<uint32_t>());
  // mov $2, %esi; mov $72, %eax; syscall; ret
  found = scan({0xbe, 2, 0, 0, 0, 0xb8, 72, 0, 0, 0, 0x0f, 0x05, 0xc3});
  EXPECT_EQ(found.fcntl_commands, std::set<uint32_t>({2}));
  // mov %r9, %rsi; mov $72, %eax; syscall; ret: not known
  found = scan({0x4c, 0x89, 0xce, 0xb8, 72, 0, 0, 0, 0x0f, 0x05, 0xc3});
  EXPECT_FALSE(found.fcntl_commands);
}

TEST(SystemCallScan, SaysWhatItCannotFollow) {
  // mov (%rsi), %rax; syscall; ret
  const SystemCallScan found = scan({0x48, 0x8b, 0x06, 0x0f, 0x05, 0xc3});
  EXPECT_EQ(found.unresolved, 1u);
  EXPECT_TRUE(found.numbers.empty());
}

TEST(SystemCallScan, EndsInLoops) {
  // l: mov %rax, %rbx; mov %rbx, %rax; syscall; jmp l
  const SystemCallScan found = scan({0x48, 0x89, 0xc3, 0x48, 0x89, 0xd8, 0x0f, 0x05, 0xeb, 0xf6});
  EXPECT_EQ(found.sites.size(), 1u);
}

}  // namespace
}  // namespace aril::tool
