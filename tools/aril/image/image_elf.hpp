#pragma once
#include <base/image_abi.hpp>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "elf/elf_file.hpp"

namespace aril::tool {

/// A kernel or an image, as its ELF file says.
struct ImageInfo {
  ElfFile elf;
  uint64_t descriptor_offset = 0;  ///< in the file
  ImageDescriptor descriptor = {};
  uint64_t root_offset = 0;  ///< in the file; meaningful when descriptor.root_size is not 0
  /// One past the highest physical address that loading it touches.
  uint64_t memory_end = 0;
  bool packed = false;  ///< unpacks itself; packed_image.hpp gives its content
  /// Bytes of memory of the machine that it was frozen on (frozen_image.hpp); 0: it was not.
  uint64_t frozen_memory = 0;
};

/// The header of the section of that name; nothing when there is none.
std::optional<Elf64_Shdr> find_section(std::span<const std::byte> bytes, std::string_view name);

/// Whether the file is an Aril kernel or image; says nothing about its health.
bool is_image(std::span<const std::byte> bytes);

/// Reads and checks a kernel or an image. Throws Error: not one, of another version of the
/// contract, or damaged.
ImageInfo read_image(std::span<const std::byte> bytes);

/// The physical address that a byte of the file is loaded at. Throws Error when it is not.
uint64_t physical_address_of(const ImageInfo& image, uint64_t offset);

/// Where what tools look for by its section stands in an image's file.
struct FileLayout {
  uint64_t descriptor_offset = 0, descriptor_address = 0;
  uint64_t root_offset = 0, root_size = 0, root_address = 0;
  uint64_t frozen_memory = 0;
};
/// The end of an image's file, from `offset` on: section headers and what only they lead to. Sets
/// the fields of `header` about them.
std::string section_headers(uint64_t offset, const FileLayout& layout, Elf64_Ehdr& header);

/// Writes an image: the kernel's loadable part, its descriptor, and `root` (an EROFS file) as one
/// more segment; without a root the kernel alone. Section headers shrink to ".aril.image" and
/// ".aril.root"; debug information stays in the kernel's own file.
void write_image(const std::filesystem::path& kernel,
                 const std::optional<std::filesystem::path>& root,
                 const std::filesystem::path& output);

}  // namespace aril::tool
