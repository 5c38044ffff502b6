#include "symbolizer/symbolizer.hpp"

#include <gtest/gtest.h>

#include <format>

#include "elf/elf_file.hpp"
#include "support/file.hpp"

namespace aril::tool {
namespace {

/// A function of this test program, to be found in its own debug information.
[[gnu::noinline]] void landmark() { asm volatile(""); }

}  // namespace

/// Made by the linker: where this program is loaded.
extern "C" const char __ehdr_start[];

namespace {

uint64_t own_offset_of(const void* address) {
  const auto distance = static_cast<const char*>(address) - __ehdr_start;
  const MappedFile self("/proc/self/exe");
  return *offset_of_address(parse_elf(self.bytes()), static_cast<uint64_t>(distance));
}

TEST(Symbolizer, NamesFunctionsOfAProgram) {
  landmark();
  Symbolizer symbolizer("/nonexistent", [](const std::string& path) {
    return path == "/bin/self" ? std::optional<std::filesystem::path>("/proc/self/exe")
                               : std::nullopt;
  });
  const uint64_t offset = own_offset_of(reinterpret_cast<const void*>(&landmark));
  const std::string line =
      symbolizer.annotate(std::format("at 0x401000 /bin/self+{:#x} end", offset));
  EXPECT_NE(line.find("landmark()+0x0 (aril/symbolizer/symbolizer_test.cpp:"), std::string::npos)
      << line;
  EXPECT_TRUE(line.ends_with(" end"));
}

TEST(Symbolizer, LeavesOtherTextAlone) {
  Symbolizer symbolizer("/nonexistent", [](const std::string&) { return std::nullopt; });
  for (const char* line : {"", "plain", "rip 0x1234 /x+0x10", " 0xffffffff80000000 ", "0xzz 0x"}) {
    EXPECT_EQ(symbolizer.annotate(line), line);
  }
}

}  // namespace
}  // namespace aril::tool
