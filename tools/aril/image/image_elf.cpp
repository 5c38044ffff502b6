#include "image/image_elf.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <format>

#include "support/error.hpp"
#include "support/file.hpp"

namespace aril::tool {

namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kDirectMap = 0xffff'8000'0000'0000;  // where the kernel sees physical memory

constexpr uint64_t align_up(uint64_t value) { return (value + kPage - 1) & ~(kPage - 1); }

std::string as_bytes_text(const void* data, size_t size) {
  return std::string(static_cast<const char*>(data), size);
}

/// Program headers of a checked ELF file.
std::vector<Elf64_Phdr> program_headers(std::span<const std::byte> bytes,
                                        const Elf64_Ehdr& header) {
  std::vector<Elf64_Phdr> result;
  for (uint16_t i = 0; i < header.e_phnum; ++i) {
    result.push_back(*read_at<Elf64_Phdr>(bytes, header.e_phoff + i * sizeof(Elf64_Phdr)));
  }
  return result;
}

}  // namespace

std::optional<Elf64_Shdr> find_section(std::span<const std::byte> bytes, std::string_view name) {
  const auto header = read_at<Elf64_Ehdr>(bytes, 0);
  if (!header || header->e_shentsize != sizeof(Elf64_Shdr)) return std::nullopt;
  const auto section = [&](uint64_t index) {
    return header->e_shoff > bytes.size()
               ? std::optional<Elf64_Shdr>()
               : read_at<Elf64_Shdr>(bytes, header->e_shoff + index * sizeof(Elf64_Shdr));
  };
  const auto names = section(header->e_shstrndx);
  if (!names || names->sh_offset > bytes.size()) return std::nullopt;
  for (uint64_t i = 0; i < header->e_shnum; ++i) {
    const auto candidate = section(i);
    if (!candidate) return std::nullopt;
    const auto text = string_at(bytes, names->sh_offset + candidate->sh_name);
    if (text && *text == name) return candidate;
  }
  return std::nullopt;
}

std::string section_headers(uint64_t offset, const FileLayout& layout, Elf64_Ehdr& header) {
  std::string names(1, '\0');
  std::string content;
  std::vector<Elf64_Shdr> sections(1);
  const auto add = [&](const char* name, Elf64_Shdr section) {
    section.sh_name = static_cast<uint32_t>(names.size());
    sections.push_back(section);
    names += name;
    names += '\0';
  };
  add(".aril.image", {.sh_type = SHT_PROGBITS,
                      .sh_flags = SHF_ALLOC,
                      .sh_addr = layout.descriptor_address,
                      .sh_offset = layout.descriptor_offset,
                      .sh_size = sizeof(ImageDescriptor),
                      .sh_addralign = 8});
  if (layout.root_size != 0) {
    add(".aril.root", {.sh_type = SHT_PROGBITS,
                       .sh_flags = SHF_ALLOC,
                       .sh_addr = layout.root_address,
                       .sh_offset = layout.root_offset,
                       .sh_size = layout.root_size,
                       .sh_addralign = kPage});
  }
  if (layout.frozen_memory != 0) {
    content = as_bytes_text(&layout.frozen_memory, sizeof layout.frozen_memory);
    add(".aril.frozen", {.sh_type = SHT_PROGBITS,
                         .sh_offset = offset,
                         .sh_size = content.size(),
                         .sh_addralign = 8});
  }
  add(".shstrtab",
      {.sh_type = SHT_STRTAB, .sh_offset = offset + content.size(), .sh_addralign = 1});
  sections.back().sh_size = names.size();
  std::string result = content + names;
  result.resize((result.size() + 7) & ~size_t{7});
  header.e_shoff = offset + result.size();
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = static_cast<uint16_t>(sections.size());
  header.e_shstrndx = static_cast<uint16_t>(sections.size() - 1);
  return result + as_bytes_text(sections.data(), sections.size() * sizeof(Elf64_Shdr));
}

bool is_image(std::span<const std::byte> bytes) {
  return looks_like_elf(bytes) && find_section(bytes, ".aril.image").has_value();
}

ImageInfo read_image(std::span<const std::byte> bytes) {
  ImageInfo info;
  info.elf = parse_elf(bytes);
  const auto section = find_section(bytes, ".aril.image");
  if (!section) throw Error("is not an Aril kernel or image");
  info.descriptor_offset = section->sh_offset;
  const auto descriptor = read_at<ImageDescriptor>(bytes, section->sh_offset);
  if (!descriptor || descriptor->magic != kImageMagic) {
    throw Error("is damaged: its image descriptor is not one");
  }
  if (descriptor->version != kImageAbiVersion || descriptor->size != sizeof(ImageDescriptor)) {
    throw Error(std::format("has image format {}; this aril knows format {}", descriptor->version,
                            kImageAbiVersion),
                "build the image again with this aril");
  }
  info.descriptor = *descriptor;
  for (const ElfSegment& segment : info.elf.segments) {
    if (segment.memory_size > UINT64_MAX - segment.physical_address) {
      throw Error("is damaged: a segment leaves physical memory");
    }
    info.memory_end = std::max(info.memory_end, segment.physical_address + segment.memory_size);
    if (descriptor->root_size != 0 && segment.physical_address == descriptor->root_address) {
      info.root_offset = segment.offset;
    }
  }
  if (const auto frozen = find_section(bytes, ".aril.frozen")) {
    info.frozen_memory = read_at<uint64_t>(bytes, frozen->sh_offset).value_or(0);
    if (info.frozen_memory == 0) throw Error("is damaged: its machine's memory is not known");
  }
  info.packed = find_section(bytes, ".aril.packed").has_value();
  if (!info.packed && descriptor->root_size != 0 &&
      !slice(bytes, info.root_offset, descriptor->root_size)) {
    throw Error(std::format("is truncated: its root of {} bytes at {} is not all there",
                            descriptor->root_size, info.root_offset));
  }
  return info;
}

uint64_t physical_address_of(const ImageInfo& image, uint64_t offset) {
  for (const ElfSegment& segment : image.elf.segments) {
    if (offset - segment.offset < segment.file_size)
      return segment.physical_address + (offset - segment.offset);
  }
  throw Error("is damaged: its image descriptor is in no segment");
}

void write_image(const std::filesystem::path& kernel_path,
                 const std::optional<std::filesystem::path>& root,
                 const std::filesystem::path& output) {
  const MappedFile kernel_file(kernel_path);
  const std::span<const std::byte> kernel = kernel_file.bytes();
  const ImageInfo info = with_context(kernel_path.string(), [&] { return read_image(kernel); });
  auto header = *read_at<Elf64_Ehdr>(kernel, 0);
  std::vector<Elf64_Phdr> headers = program_headers(kernel, header);

  uint64_t end = header.e_phoff + headers.size() * sizeof(Elf64_Phdr);
  for (const Elf64_Phdr& program_header : headers) {
    if (program_header.p_type != PT_NULL) {
      end = std::max(end, program_header.p_offset + program_header.p_filesz);
    }
  }
  std::string content = as_bytes_text(kernel.data(), std::min<uint64_t>(end, kernel.size()));
  uint64_t root_offset = 0;
  uint64_t root_size = 0;
  ImageDescriptor descriptor = info.descriptor;
  Descriptor root_file;
  if (root) {
    root_file = Descriptor(open(root->c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status = {};
    if (!root_file || fstat(root_file.get(), &status) != 0) fail_with_errno(root->string(), errno);
    const auto spare = std::ranges::find(headers, uint32_t{PT_NULL}, &Elf64_Phdr::p_type);
    if (spare == headers.end()) {
      throw Error(std::format("{}: has no spare program header", kernel_path.string()));
    }
    root_offset = align_up(content.size());
    root_size = static_cast<uint64_t>(status.st_size);
    descriptor.root_address = align_up(descriptor.root_load_address);
    descriptor.root_size = root_size;
    *spare = {.p_type = PT_LOAD,
              .p_flags = PF_R,
              .p_offset = root_offset,
              .p_vaddr = kDirectMap + descriptor.root_address,
              .p_paddr = descriptor.root_address,
              .p_filesz = root_size,
              .p_memsz = root_size,
              .p_align = kPage};
  }
  content.resize(align_up(content.size()));
  const std::string sections =
      section_headers(align_up(content.size() + root_size),
                      {.descriptor_offset = info.descriptor_offset,
                       .descriptor_address = physical_address_of(info, info.descriptor_offset),
                       .root_offset = root_offset,
                       .root_size = root_size,
                       .root_address = kDirectMap + descriptor.root_address},
                      header);
  std::memcpy(content.data(), &header, sizeof header);
  std::memcpy(content.data() + header.e_phoff, headers.data(), headers.size() * sizeof(Elf64_Phdr));
  std::memcpy(content.data() + info.descriptor_offset, &descriptor, sizeof descriptor);

  const Descriptor file(open(output.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0755));
  if (!file) fail_with_errno(output.string(), errno);
  write_all(file.get(), bytes_of(content), output.string());
  if (root) copy_content(root_file.get(), file.get(), root->string());
  if (lseek(file.get(), static_cast<off_t>(align_up(content.size() + root_size)), SEEK_SET) < 0) {
    fail_with_errno(output.string(), errno);
  }
  write_all(file.get(), bytes_of(sections), output.string());
}

}  // namespace aril::tool
