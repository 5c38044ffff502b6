#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstring>
#include <random>

#include "image/boot_records.hpp"
#include "image/erofs_reader.hpp"
#include "image/erofs_writer.hpp"
#include "image/frozen_image.hpp"
#include "image/image_elf.hpp"
#include "support/error.hpp"
#include "support/file.hpp"
#include "support/process.hpp"

namespace aril::tool {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kDescriptorOffset = 0x200;
constexpr uint64_t kPhysical = 0x200000;

/// The smallest file that is a kernel to the builder: one segment with the descriptor in it, a
/// spare header, and the section that names the descriptor.
std::string tiny_kernel() {
  std::string file(0x1000, 'k');
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_phoff = sizeof header;
  header.e_ehsize = sizeof header;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 2;
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 3;
  header.e_shstrndx = 2;
  const std::string names("\0.aril.image\0.shstrtab\0", 23);
  header.e_shoff = file.size() + names.size();
  const Elf64_Phdr headers[2] = {
      {PT_LOAD, PF_R | PF_X, 0, 0xffffffff80000000 + kPhysical, kPhysical, 0x1000, 0x3000, 0x1000},
      {}};
  const ImageDescriptor descriptor = {.magic = kImageMagic,
                                      .version = kImageAbiVersion,
                                      .size = sizeof(ImageDescriptor),
                                      .root_load_address = kPhysical + 0x3001,
                                      .root_address = 0,
                                      .root_size = 0};
  Elf64_Shdr sections[3] = {};
  sections[1].sh_name = 1;
  sections[1].sh_type = SHT_PROGBITS;
  sections[1].sh_offset = kDescriptorOffset;
  sections[1].sh_size = sizeof descriptor;
  sections[2].sh_name = 13;
  sections[2].sh_type = SHT_STRTAB;
  sections[2].sh_offset = file.size();
  sections[2].sh_size = names.size();
  std::memcpy(file.data(), &header, sizeof header);
  std::memcpy(file.data() + sizeof header, headers, sizeof headers);
  std::memcpy(file.data() + kDescriptorOffset, &descriptor, sizeof descriptor);
  file += names;
  file.append(reinterpret_cast<const char*>(sections), sizeof sections);
  return file;
}

class ImageTest : public testing::Test {
 protected:
  void SetUp() override { write_file(kernel_, tiny_kernel()); }

  TemporaryDirectory directory_{fs::temp_directory_path()};
  fs::path kernel_ = directory_.path() / "kernel.elf";
  fs::path root_ = directory_.path() / "root";
  fs::path image_ = directory_.path() / "image";
};

TEST_F(ImageTest, AppendsTheRootAsASegment) {
  write_file(root_, std::string(5000, 'r'));
  write_image(kernel_, root_, image_);
  const MappedFile file(image_);
  const ImageInfo info = read_image(file.bytes());
  EXPECT_EQ(info.descriptor.root_size, 5000u);
  EXPECT_EQ(info.descriptor.root_address, kPhysical + 0x4000);
  ASSERT_EQ(info.elf.segments.size(), 2u);
  EXPECT_EQ(info.elf.segments[1].flags, uint32_t{PF_R});
  EXPECT_EQ(info.root_offset % 4096, 0u);
  EXPECT_EQ(static_cast<char>(file.bytes()[info.root_offset + 4999]), 'r');
  EXPECT_EQ(info.memory_end, kPhysical + 0x4000 + 5000);
}

TEST_F(ImageTest, ReadelfAgrees) {
  write_file(root_, std::string(5000, 'r'));
  write_image(kernel_, root_, image_);
  const CommandResult result = run_command({"readelf", "-W", "-l", "-S", image_});
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.error, "");
  EXPECT_NE(result.output.find(".aril.image"), std::string::npos);
  EXPECT_NE(result.output.find(".aril.root"), std::string::npos);
  EXPECT_NE(result.output.find("LOAD           0x001000 0xffff800000204000 0x0000000000204000"),
            std::string::npos)
      << result.output;
}

TEST_F(ImageTest, RefusesTruncatedAndForeignImages) {
  write_file(root_, std::string(5000, 'r'));
  write_image(kernel_, root_, image_);
  const std::string bytes = read_file(image_);
  for (size_t size = 0; size < bytes.size(); size += 37) {
    EXPECT_THROW(read_image(bytes_of(std::string_view(bytes).substr(0, size))), Error) << size;
  }
  std::string other = bytes;
  other[kDescriptorOffset + offsetof(ImageDescriptor, version)] = 9;
  EXPECT_THROW(read_image(bytes_of(other)), Error);
}

TEST_F(ImageTest, ErofsRoundTripsAndIsReproducible) {
  Tree tree;
  tree.add_content("/etc/hostname", "aril\n");
  tree.add_content("/big", std::string(10000, 'x'));
  tree.add_link("/link", "/big");
  tree.add_directory("/tmp", 01777);
  for (int i = 0; i < 300; ++i) tree.add_content(std::format("/many/file-{}", i), "");
  write_erofs(tree, root_, directory_.path());
  write_erofs(tree, image_, directory_.path());
  EXPECT_EQ(read_file(root_), read_file(image_));
  EXPECT_EQ(run_command({"fsck.erofs", root_}).status, 0);

  const MappedFile file(root_);
  const ErofsReader reader(file.bytes());
  EXPECT_EQ(reader.read("/etc/hostname"), "aril\n");
  EXPECT_EQ(reader.read("/big"), std::string(10000, 'x'));
  EXPECT_FALSE(reader.read("/etc/nothing"));
  EXPECT_FALSE(reader.read("/link"));
  EXPECT_EQ(reader.list().size(), 306u);
}

TEST_F(ImageTest, DamagedErofsIsRefusedOrRead) {
  Tree tree;
  for (int i = 0; i < 50; ++i) tree.add_content(std::format("/d{}/f", i), "content");
  write_erofs(tree, root_, directory_.path());
  const std::string good = read_file(root_);
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = good;
    for (int i = 0; i < 8; ++i) bytes[1024 + random() % (bytes.size() - 1024)] = char(random());
    try {
      const ErofsReader reader(bytes_of(bytes));
      reader.list();
      reader.read("/d7/f");
    } catch (const Error&) {}
  }
  EXPECT_THROW(ErofsReader(bytes_of(std::string_view(good).substr(0, good.size() - 1))), Error);
}

TEST(BootRecords, RoundTrip) {
  BootRecords records;
  records.exec = "/bin/x";
  records.arguments = {"x", "", "a b=%"};
  records.environment = {{"A", "=b"}};
  records.user = User{3, 4, {7, 9}};
  records.cwd = "/tmp";
  const BootRecords again = parse_boot_records(to_file_content(records));
  EXPECT_EQ(again.exec, records.exec);
  EXPECT_EQ(again.arguments, records.arguments);
  EXPECT_EQ(again.environment, records.environment);
  EXPECT_EQ(again.user->gid, 4u);
  EXPECT_EQ(again.user->groups, records.user->groups);
  EXPECT_EQ(to_command_line(records),
            "exec=/bin/x arg=x arg= arg=a%20b=%25 env=A==b cwd=/tmp uid=3 gid=4 groups=7,9");
  EXPECT_THROW(parse_boot_records("exec"), Error);
}

TEST_F(ImageTest, WhatIsNotItsMachinesMemoryIsNotFrozen) {
  const fs::path path = directory_.path() / "frozen";
  std::vector<std::byte> memory(1 << 20);
  // A segment that can be written, and a PVH note, are what a kernel has.
  write_file(path, tiny_kernel());
  EXPECT_THROW(write_frozen_image(path, {.memory = memory, .entry = 1, .data = 0}), Error);
  EXPECT_EQ(read_file(path), tiny_kernel());
}

}  // namespace
}  // namespace aril::tool
