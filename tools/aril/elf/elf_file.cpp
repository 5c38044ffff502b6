#include "elf/elf_file.hpp"

#include <algorithm>
#include <cstring>
#include <format>

#include "support/error.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace {

constexpr uint64_t kAddressLimit = uint64_t{1} << 47;

[[noreturn]] void refuse(const std::string& why, std::string hint = {}) {
  throw Error(why, std::move(hint), ExitStatus::kNotExecutable);
}

void refuse_script(std::span<const std::byte> bytes) {
  const size_t limit = std::min<size_t>(bytes.size(), 256);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), limit);  // bytes as text
  if (!text.starts_with("#!")) return;
  const std::string line(trim(text.substr(2, text.find('\n') - 2)));
  std::string printable;
  for (const char c : line) printable += (c >= 0x20 && c < 0x7f) ? c : '?';
  refuse(std::format("is a script for {}", printable.empty() ? "no interpreter" : printable),
         std::format("run the interpreter with the script as a file: aril run --file SCRIPT {} -- "
                     "SCRIPT",
                     printable.substr(0, printable.find(' '))));
}

Elf64_Ehdr read_header(std::span<const std::byte> bytes) {
  refuse_script(bytes);
  if (!looks_like_elf(bytes)) {
    refuse(bytes.empty() ? "is empty" : "is not an ELF program");
  }
  if (bytes.size() <= EI_DATA) refuse("is truncated: only part of an ELF header is there");
  const auto file_class = static_cast<unsigned char>(bytes[EI_CLASS]);
  const auto order = static_cast<unsigned char>(bytes[EI_DATA]);
  // e_machine stands at the same place in both classes.
  const auto machine = read_at<uint16_t>(bytes, offsetof(Elf64_Ehdr, e_machine));
  if (!machine) refuse("is truncated: only part of an ELF header is there");
  const uint16_t machine_value =
      order == ELFDATA2MSB ? static_cast<uint16_t>(*machine << 8 | *machine >> 8) : *machine;
  if (order != ELFDATA2LSB || machine_value != EM_X86_64) {
    refuse(std::format("is a program for {}, not for x86-64", machine_name(machine_value)));
  }
  if (file_class != ELFCLASS64) refuse("is a 32-bit (x32) program; only 64-bit ones run");
  const auto header = read_at<Elf64_Ehdr>(bytes, 0);
  if (!header) refuse("is truncated: only part of an ELF header is there");
  return *header;
}

std::vector<Elf64_Phdr> read_program_headers(std::span<const std::byte> bytes,
                                             const Elf64_Ehdr& header) {
  if (header.e_phnum == 0) return {};
  if (header.e_phentsize != sizeof(Elf64_Phdr)) {
    refuse(std::format("is damaged: its program headers are {} bytes each, not {}",
                       header.e_phentsize, sizeof(Elf64_Phdr)));
  }
  std::vector<Elf64_Phdr> result;
  const auto table = slice(bytes, header.e_phoff, uint64_t{header.e_phnum} * sizeof(Elf64_Phdr));
  if (!table) {
    refuse(std::format("is truncated: {} program headers at {} do not fit into {} bytes",
                       header.e_phnum, header.e_phoff, bytes.size()));
  }
  for (uint16_t i = 0; i < header.e_phnum; ++i) {
    result.push_back(*read_at<Elf64_Phdr>(*table, i * sizeof(Elf64_Phdr)));
  }
  return result;
}

/// The bytes of a header that must lie within the file.
std::span<const std::byte> content_of(std::span<const std::byte> bytes, const Elf64_Phdr& header,
                                      const char* what) {
  const auto content = slice(bytes, header.p_offset, header.p_filesz);
  if (!content) {
    refuse(std::format("is truncated: its {} is {} bytes at {}, the file only {}", what,
                       header.p_filesz, header.p_offset, bytes.size()));
  }
  return *content;
}

ElfSegment read_segment(std::span<const std::byte> bytes, const Elf64_Phdr& header) {
  content_of(bytes, header, "segment");
  if (header.p_memsz < header.p_filesz) {
    refuse("is damaged: a segment is smaller in memory than in the file");
  }
  const uint64_t limit = header.p_vaddr >= kAddressLimit ? UINT64_MAX : kAddressLimit;
  if (header.p_memsz > limit - header.p_vaddr) {
    refuse(std::format("is damaged: a segment at {:#x} of {} bytes leaves the address space",
                       header.p_vaddr, header.p_memsz));
  }
  return {.offset = header.p_offset,
          .address = header.p_vaddr,
          .physical_address = header.p_paddr,
          .file_size = header.p_filesz,
          .memory_size = header.p_memsz,
          .flags = header.p_flags};
}

std::string read_interpreter(std::span<const std::byte> content) {
  const auto path = string_at(content, 0);
  if (!path || path->empty() || path->size() > 4096 || !path->starts_with('/')) {
    refuse("is damaged: the path of its interpreter is not one");
  }
  return std::string(*path);
}

std::string read_build_id(std::span<const std::byte> notes) {
  uint64_t offset = 0;
  while (const auto note = read_at<Elf64_Nhdr>(notes, offset)) {
    const uint64_t name_size = (uint64_t{note->n_namesz} + 3) & ~uint64_t{3};
    const uint64_t data_size = (uint64_t{note->n_descsz} + 3) & ~uint64_t{3};
    const auto name = slice(notes, offset + sizeof(Elf64_Nhdr), note->n_namesz);
    const auto data = slice(notes, offset + sizeof(Elf64_Nhdr) + name_size, note->n_descsz);
    if (!name || !data) break;
    if (note->n_type == NT_GNU_BUILD_ID && name->size() == 4 &&
        std::memcmp(name->data(), "GNU", 4) == 0) {
      std::string text;
      for (const std::byte byte : *data) text += std::format("{:02x}", static_cast<unsigned>(byte));
      return text;
    }
    offset += sizeof(Elf64_Nhdr) + name_size + data_size;
  }
  return {};
}

/// Strings of the dynamic section are given as offsets into the string table, which itself is
/// given by address: all of it is resolved against the segments.
void read_dynamic(std::span<const std::byte> bytes, std::span<const std::byte> dynamic,
                  ElfFile& file) {
  std::optional<uint64_t> table_address;
  std::vector<std::pair<int64_t, uint64_t>> strings;
  for (uint64_t offset = 0;; offset += sizeof(Elf64_Dyn)) {
    const auto entry = read_at<Elf64_Dyn>(dynamic, offset);
    if (!entry || entry->d_tag == DT_NULL) break;
    switch (entry->d_tag) {
      case DT_STRTAB:
        table_address = entry->d_un.d_ptr;
        break;
      case DT_NEEDED:
      case DT_RPATH:
      case DT_RUNPATH:
      case DT_SONAME:
        strings.emplace_back(entry->d_tag, entry->d_un.d_val);
        break;
      default:
        break;
    }
  }
  if (strings.empty()) return;
  const auto table_offset =
      table_address ? offset_of_address(file, *table_address) : std::optional<uint64_t>();
  if (!table_offset) refuse("is damaged: its dynamic section has no string table");
  for (const auto& [tag, value] : strings) {
    const auto text = value <= bytes.size() - *table_offset
                          ? string_at(bytes, *table_offset + value)
                          : std::optional<std::string_view>();
    if (!text || text->size() > 65536) {
      refuse("is damaged: a string of its dynamic section lies outside the file");
    }
    switch (tag) {
      case DT_NEEDED:
        if (text->empty()) refuse("is damaged: it needs a library without a name");
        file.needed.emplace_back(*text);
        break;
      case DT_RPATH:
        file.rpath = *text;
        break;
      case DT_RUNPATH:
        file.runpath = *text;
        break;
      default:
        file.soname = *text;
        break;
    }
  }
}

}  // namespace

std::optional<std::span<const std::byte>> slice(std::span<const std::byte> bytes, uint64_t offset,
                                                uint64_t size) {
  if (offset > bytes.size() || size > bytes.size() - offset) return std::nullopt;
  return bytes.subspan(offset, size);
}

std::optional<std::string_view> string_at(std::span<const std::byte> bytes, uint64_t offset) {
  if (offset >= bytes.size()) return std::nullopt;
  const auto* start = reinterpret_cast<const char*>(bytes.data() + offset);  // bytes as text
  const void* end = std::memchr(start, '\0', bytes.size() - offset);
  if (end == nullptr) return std::nullopt;
  return std::string_view(start, static_cast<const char*>(end));
}

bool looks_like_elf(std::span<const std::byte> bytes) {
  return bytes.size() >= SELFMAG && std::memcmp(bytes.data(), ELFMAG, SELFMAG) == 0;
}

std::optional<uint64_t> offset_of_address(const ElfFile& file, uint64_t address) {
  for (const ElfSegment& segment : file.segments) {
    if (address >= segment.address && address - segment.address < segment.file_size) {
      return segment.offset + (address - segment.address);
    }
  }
  return std::nullopt;
}

ElfFile parse_elf(std::span<const std::byte> bytes) {
  const Elf64_Ehdr header = read_header(bytes);
  ElfFile file;
  file.type = header.e_type;
  file.entry = header.e_entry;
  const std::vector<Elf64_Phdr> program_headers = read_program_headers(bytes, header);
  for (const Elf64_Phdr& program_header : program_headers) {
    if (program_header.p_type == PT_LOAD) {
      file.segments.push_back(read_segment(bytes, program_header));
    }
  }
  for (const Elf64_Phdr& program_header : program_headers) {
    switch (program_header.p_type) {
      case PT_INTERP:
        file.interpreter = read_interpreter(content_of(bytes, program_header, "interpreter path"));
        break;
      case PT_DYNAMIC:
        file.dynamic = true;
        read_dynamic(bytes, content_of(bytes, program_header, "dynamic section"), file);
        break;
      case PT_NOTE:
        if (file.build_id.empty()) {
          file.build_id = read_build_id(content_of(bytes, program_header, "note"));
        }
        break;
      default:
        break;
    }
  }
  return file;
}

}  // namespace aril::tool
