#include "elf/elf_file.hpp"

#include <gtest/gtest.h>

#include <random>

#include "elf/elf_builder.hpp"
#include "elf/library_cache.hpp"
#include "support/error.hpp"
#include "support/file.hpp"

namespace aril::tool {
namespace {

std::string refusal(std::string_view bytes) {
  try {
    parse_elf(bytes_of(bytes));
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::kNotExecutable);
    return error.what();
  }
  return "accepted";
}

TEST(ParseElf, ReadsWhatAFileNeeds) {
  const std::string bytes =
      ElfBuilder{
          .interpreter = "/lib64/ld.so", .needed = {"liba.so", "libb.so.1"}, .runpath = "$ORIGIN/x"}
          .build();
  const ElfFile file = parse_elf(bytes_of(bytes));
  EXPECT_EQ(file.interpreter, "/lib64/ld.so");
  EXPECT_EQ(file.needed, (std::vector<std::string>{"liba.so", "libb.so.1"}));
  EXPECT_EQ(file.runpath, "$ORIGIN/x");
  EXPECT_FALSE(file.rpath);
  EXPECT_TRUE(file.dynamic);
}

TEST(ParseElf, SaysWhatElseAFileIs) {
  EXPECT_EQ(refusal("#!/bin/sh -e\nexit\n"), "is a script for /bin/sh -e");
  EXPECT_EQ(refusal("#!"), "is a script for no interpreter");
  EXPECT_EQ(refusal(""), "is empty");
  EXPECT_EQ(refusal("hello"), "is not an ELF program");
  EXPECT_EQ(refusal(ElfBuilder{.machine = EM_AARCH64}.build()),
            "is a program for AArch64, not for x86-64");
}

TEST(ParseElf, RefusesEveryTruncation) {
  const std::string bytes =
      ElfBuilder{.interpreter = "/lib64/ld.so", .needed = {"liba.so"}}.build();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_NE(refusal(std::string_view(bytes).substr(0, size)), "accepted") << size;
  }
}

TEST(ParseElf, SurvivesAnyDamage) {
  const std::string good =
      ElfBuilder{.interpreter = "/lib64/ld.so", .needed = {"liba.so"}, .rpath = "/x"}.build();
  std::mt19937 random(1);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = good;
    for (int i = 0; i < 3; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    refusal(bytes);
  }
}

TEST(LibraryCache, ReadsTheHostsAndIgnoresDamage) {
  const std::string content = read_file("/etc/ld.so.cache");
  EXPECT_TRUE(LibraryCache::parse(bytes_of(content)).find("libc.so.6"));
  for (size_t size = 0; size < content.size(); size += 97) {
    LibraryCache::parse(bytes_of(std::string_view(content).substr(0, size)));
  }
  EXPECT_EQ(LibraryCache::parse(bytes_of("nonsense")).size(), 0u);
}

}  // namespace
}  // namespace aril::tool
