#include "image/frozen_image.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "image/image_elf.hpp"
#include "support/error.hpp"
#include "support/file.hpp"

namespace aril::tool {

namespace {

constexpr uint64_t kPage = 4096;
/// Below lie what firmware and loaders use: the kernel leaves it alone (platform/vm/memory_setup).
constexpr uint64_t kLowest = uint64_t{1} << 20;
/// Zeroes between two pieces that cost less than another segment.
constexpr uint64_t kWorthASegment = 4 * kPage;
/// In a PVH note, behind its header and the name "Xen".
constexpr uint64_t kEntryInNote = 16;

struct Piece {
  uint64_t start = 0, end = 0;
};

bool is_zero(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{}; });
}

/// Adds what is not zero from `start` to `end`, both at page boundaries.
void add_pieces(std::span<const std::byte> memory, uint64_t start, uint64_t end,
                std::vector<Piece>& pieces) {
  const size_t first = pieces.size();
  for (uint64_t at = start; at < end; at += kPage) {
    if (is_zero(memory.subspan(at, kPage))) continue;
    if (pieces.size() > first && at - pieces.back().end <= kWorthASegment) {
      pieces.back().end = at + kPage;
    } else {
      pieces.push_back({at, at + kPage});
    }
  }
}

Elf64_Phdr find_header(std::span<const std::byte> bytes, uint32_t type, uint32_t flags) {
  const auto header = *read_at<Elf64_Ehdr>(bytes, 0);
  for (uint16_t i = 0; i < header.e_phnum; ++i) {
    const auto entry = read_at<Elf64_Phdr>(bytes, header.e_phoff + i * sizeof(Elf64_Phdr));
    if (entry && entry->p_type == type && (entry->p_flags & flags) == flags) return *entry;
  }
  throw Error("is not a kernel that can be frozen");
}

template <typename T>
std::string text_of(const T& object) {
  return std::string(reinterpret_cast<const char*>(&object), sizeof object);
}

}  // namespace

void write_frozen_image(const std::filesystem::path& path, const StoppedMachine& machine) {
  const std::span<std::byte> memory = machine.memory;
  const MappedFile file(path);
  const std::span<const std::byte> image = file.bytes();
  const ImageInfo info = read_image(image);
  const uint64_t root = info.descriptor.root_address;
  const uint64_t root_end = root + ((info.descriptor.root_size + kPage - 1) & ~(kPage - 1));
  const Elf64_Phdr data = find_header(image, PT_LOAD, PF_W);
  const Elf64_Phdr note = find_header(image, PT_NOTE, 0);
  const auto cold = slice(image, data.p_offset, data.p_filesz);
  const auto fits = [&](uint64_t start, uint64_t size) {
    return start <= memory.size() && size <= memory.size() - start;
  };
  if (!cold || !fits(machine.data, cold->size()) || !fits(note.p_paddr, note.p_filesz) ||
      !fits(root, root_end - root) || note.p_filesz < kEntryInNote + 4) {
    throw Error("the machine's memory is not that of its image");
  }
  std::ranges::copy(*cold, memory.begin() + static_cast<ptrdiff_t>(machine.data));
  const auto entry = static_cast<uint32_t>(machine.entry);
  std::memcpy(memory.data() + note.p_paddr + kEntryInNote, &entry, sizeof entry);

  std::vector<Piece> pieces;
  add_pieces(memory, kLowest, root, pieces);
  pieces.push_back({root, root_end});
  add_pieces(memory, root_end, memory.size() & ~(kPage - 1), pieces);

  const uint64_t descriptor_address = physical_address_of(info, info.descriptor_offset);
  Elf64_Ehdr header = *read_at<Elf64_Ehdr>(image, 0);
  header.e_entry = machine.entry;
  header.e_phoff = sizeof header;
  header.e_phnum = static_cast<uint16_t>(pieces.size() + 1);
  std::string headers, content;
  uint64_t offset =
      (sizeof header + header.e_phnum * sizeof(Elf64_Phdr) + kPage - 1) & ~(kPage - 1);
  const uint64_t content_at = offset;
  FileLayout layout = {.root_size = info.descriptor.root_size, .root_address = root};
  Elf64_Phdr new_note = note;
  for (const Piece& piece : pieces) {
    const uint64_t size = piece.end - piece.start;
    const auto holds = [&](uint64_t address) { return address - piece.start < size; };
    if (holds(note.p_paddr)) new_note.p_offset = offset + (note.p_paddr - piece.start);
    if (holds(descriptor_address)) {
      layout.descriptor_offset = offset + (descriptor_address - piece.start);
      layout.descriptor_address = descriptor_address;
    }
    if (piece.start == root) layout.root_offset = offset;
    headers += text_of(Elf64_Phdr{.p_type = PT_LOAD,
                                  .p_flags = PF_R | PF_W | PF_X,
                                  .p_offset = offset,
                                  .p_vaddr = piece.start,
                                  .p_paddr = piece.start,
                                  .p_filesz = size,
                                  .p_memsz = size,
                                  .p_align = kPage});
    content.append(reinterpret_cast<const char*>(memory.data() + piece.start), size);
    offset += size;
  }
  headers += text_of(new_note);
  layout.frozen_memory = memory.size();
  const std::string sections = section_headers(offset, layout, header);
  std::string result = text_of(header) + headers;
  result.resize(content_at);
  write_file(path, result + content + sections);
}

}  // namespace aril::tool
