#include "linux/loader/elf.hpp"

#include <gtest/gtest.h>

#include <cstring>

namespace aril::linux_abi {
namespace {

/// A file under construction: a valid little program, which tests then damage.
class ElfFile {
 public:
  ElfFile() : bytes_(0x3000) {
    const uint8_t ident[] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
    std::memcpy(bytes_.data(), ident, sizeof ident);
    put<uint16_t>(16, 2);   // ET_EXEC
    put<uint16_t>(18, 62);  // EM_X86_64
    put<uint32_t>(20, 1);
    put<uint64_t>(24, 0x401000);  // entry
    put<uint64_t>(32, 64);        // program headers
    put<uint16_t>(54, 56);
    add(1, 4, 0, 0x400000, 0x1000, 0x1000);
    add(1, 5, 0x1000, 0x401000, 0x800, 0x800);
    add(1, 6, 0x2000, 0x403000, 0x100, 0x5000);
  }

  template <typename T>
  void put(size_t offset, T value) {
    std::memcpy(&bytes_[offset], &value, sizeof value);
  }
  size_t add(uint32_t type, uint32_t flags, uint64_t offset, uint64_t address, uint64_t file_size,
             uint64_t memory_size) {
    size_t at = 64 + 56 * count_;
    put(at, type);
    put(at + 4, flags);
    put(at + 8, offset);
    put(at + 16, address);
    put(at + 32, file_size);
    put(at + 40, memory_size);
    put<uint64_t>(at + 48, 0x1000);
    put<uint16_t>(56, static_cast<uint16_t>(++count_));
    return at;
  }
  size_t header(size_t index) const { return 64 + 56 * index; }
  std::vector<std::byte>& bytes() { return bytes_; }

  std::expected<ElfImage, ElfError> parse() const {
    return parse_elf(
        [&](uint64_t offset, std::span<std::byte> to) {
          if (offset > bytes_.size() || to.size() > bytes_.size() - offset) return false;
          std::memcpy(to.data(), &bytes_[offset], to.size());
          return true;
        },
        bytes_.size());
  }
  ElfError error() const {
    auto image = parse();
    EXPECT_FALSE(image.has_value());
    return image ? ElfError::kNoMemory : image.error();
  }

 private:
  std::vector<std::byte> bytes_;
  size_t count_ = 0;
};

TEST(Elf, ReadsAProgram) {
  ElfFile file;
  auto image = file.parse();
  ASSERT_TRUE(image.has_value());
  EXPECT_FALSE(image->position_independent);
  EXPECT_EQ(image->entry, 0x401000u);
  EXPECT_EQ(image->program_headers, 0x400040u);
  EXPECT_EQ(image->program_header_count, 3);
  ASSERT_EQ(image->segments.size(), 3u);
  EXPECT_EQ(image->lowest(), 0x400000u);
  EXPECT_EQ(image->highest(), 0x408000u);
  EXPECT_EQ(image->segments[2].protection, Protection::kRead | Protection::kWrite);
}

TEST(Elf, ReadsInterpreterAndStack) {
  ElfFile file;
  const char path[] = "/lib64/ld-linux-x86-64.so.2";
  std::memcpy(&file.bytes()[0x800], path, sizeof path);
  file.add(3, 4, 0x800, 0x400800, sizeof path, sizeof path);
  file.add(0x6474e551, 7, 0, 0, 0, 0);
  auto image = file.parse();
  ASSERT_TRUE(image.has_value());
  EXPECT_EQ(image->interpreter, path);
  EXPECT_TRUE(image->executable_stack);
}

TEST(Elf, TellsWhatAFileIsInstead) {
  ElfFile file;
  file.bytes()[0] = std::byte{'#'};
  EXPECT_EQ(file.error(), ElfError::kNotElf);
  file = ElfFile();
  file.put<uint16_t>(18, 183);  // AArch64
  EXPECT_EQ(file.error(), ElfError::kOtherArchitecture);
  file = ElfFile();
  file.bytes()[4] = std::byte{1};
  EXPECT_EQ(file.error(), ElfError::kNot64Bit);
  file = ElfFile();
  file.put<uint16_t>(16, 1);  // ET_REL
  EXPECT_EQ(file.error(), ElfError::kNotExecutable);
}

TEST(Elf, NoticesTruncation) {
  ElfFile file;
  file.bytes().resize(0x2080);
  EXPECT_EQ(file.error(), ElfError::kTruncated);
  file.bytes().resize(100);
  EXPECT_EQ(file.error(), ElfError::kTruncated);
  file.bytes().resize(20);
  EXPECT_EQ(file.error(), ElfError::kTruncated);
  file.bytes().resize(2);
  EXPECT_EQ(file.error(), ElfError::kNotElf);
}

TEST(Elf, RefusesHostileSegments) {
  constexpr size_t kOffset = 8, kAddress = 16, kFileSize = 32, kMemorySize = 40, kAlignment = 48;
  struct Damage {
    size_t field;
    uint64_t value;
    ElfError error;
  };
  const Damage damages[] = {
      {kOffset, ~uint64_t{0} - 0xfff, ElfError::kTruncated},
      {kOffset, 0x1010, ElfError::kMalformed},
      {kAddress, 0x400000, ElfError::kMalformed},  // over the first segment
      {kAddress, 0x7fff'ffff'f000, ElfError::kMalformed},
      {kAddress, 0xffff'ffff'8000'0000, ElfError::kMalformed},
      {kFileSize, ~uint64_t{0}, ElfError::kMalformed},  // more than in memory
      {kMemorySize, ~uint64_t{0} - 0xfff, ElfError::kMalformed},
      {kMemorySize, 0x10, ElfError::kMalformed},
      {kAlignment, 3, ElfError::kMalformed},
      {kAlignment, uint64_t{1} << 40, ElfError::kMalformed},
  };
  for (const Damage& damage : damages) {
    ElfFile file;
    file.put(file.header(1) + damage.field, damage.value);
    EXPECT_EQ(file.error(), damage.error) << damage.field << " " << damage.value;
  }
}

TEST(Elf, RefusesHostileHeaders) {
  ElfFile file;
  file.put<uint64_t>(32, ~uint64_t{0} - 8);
  EXPECT_EQ(file.error(), ElfError::kTruncated);
  file = ElfFile();
  file.put<uint16_t>(56, 0xffff);
  EXPECT_EQ(file.error(), ElfError::kMalformed);
  file = ElfFile();
  file.put<uint16_t>(54, 32);
  EXPECT_EQ(file.error(), ElfError::kMalformed);
  file = ElfFile();
  file.add(3, 4, 0x800, 0x400800, 4, 4);  // an interpreter of four zero bytes
  EXPECT_EQ(file.error(), ElfError::kMalformed);
  file = ElfFile();
  file.put<uint64_t>(file.header(0) + 16, 0);  // a fixed program at address 0
  EXPECT_EQ(file.error(), ElfError::kMalformed);
}

}  // namespace
}  // namespace aril::linux_abi
