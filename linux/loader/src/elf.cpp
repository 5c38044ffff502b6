#include "linux/loader/elf.hpp"

#include <bit>
#include <cstring>

#include "arch/layout.hpp"
#include "base/units.hpp"

namespace aril::linux_abi {
namespace {

struct FileHeader {
  uint8_t ident[16];
  uint16_t type, machine;
  uint32_t version;
  uint64_t entry, program_header_offset, section_header_offset;
  uint32_t flags;
  uint16_t header_size, program_header_size, program_header_count, section_header_size,
      section_header_count, string_section;
};
static_assert(sizeof(FileHeader) == 64);

struct ProgramHeader {
  uint32_t type, flags;
  uint64_t offset, virtual_address, physical_address, file_size, memory_size, alignment;
};
static_assert(sizeof(ProgramHeader) == 56);

constexpr uint8_t kMagic[4] = {0x7f, 'E', 'L', 'F'};
constexpr uint8_t kClass64 = 2, kLittleEndian = 1;
constexpr size_t kIdentClass = 4, kIdentData = 5;
constexpr uint16_t kTypeExecutable = 2, kTypeShared = 3;
constexpr uint16_t kMachineX86_64 = 62;
constexpr uint32_t kLoad = 1, kInterpreter = 3, kProgramHeaders = 6, kGnuStack = 0x6474e551;
constexpr uint32_t kFlagExecute = 1, kFlagWrite = 2, kFlagRead = 4;
constexpr size_t kMaximumProgramHeaders = 1024;
constexpr uint64_t kMaximumInterpreterPath = 4096;
constexpr uint64_t kMaximumAlignment = 1u << 30;

using Status = std::expected<void, ElfError>;

std::unexpected<ElfError> error(ElfError value) { return std::unexpected(value); }

Protection protection_of(uint32_t flags) {
  Protection protection = Protection::kNone;
  if ((flags & kFlagRead) != 0) protection |= Protection::kRead;
  if ((flags & kFlagWrite) != 0) protection |= Protection::kWrite;
  if ((flags & kFlagExecute) != 0) protection |= Protection::kExecute;
  return protection;
}

Status check_file_header(const FileHeader& header) {
  if (std::memcmp(header.ident, kMagic, sizeof kMagic) != 0) return error(ElfError::kNotElf);
  if (header.ident[kIdentData] != kLittleEndian) return error(ElfError::kOtherArchitecture);
  if (header.ident[kIdentClass] != kClass64) return error(ElfError::kNot64Bit);
  if (header.machine != kMachineX86_64) return error(ElfError::kOtherArchitecture);
  if (header.type != kTypeExecutable && header.type != kTypeShared)
    return error(ElfError::kNotExecutable);
  if (header.program_header_size != sizeof(ProgramHeader)) return error(ElfError::kMalformed);
  if (header.program_header_count == 0) return error(ElfError::kNotExecutable);
  if (header.program_header_count > kMaximumProgramHeaders) return error(ElfError::kMalformed);
  return {};
}

bool lies_in(uint64_t offset, uint64_t size, uint64_t file_size) {
  return offset <= file_size && size <= file_size - offset;
}

Status add_segment(ElfImage& image, const ProgramHeader& header, uint64_t file_size) {
  if (header.memory_size == 0) return {};
  if (header.memory_size < header.file_size) return error(ElfError::kMalformed);
  if (!lies_in(header.offset, header.file_size, file_size)) return error(ElfError::kTruncated);
  if ((header.offset ^ header.virtual_address) % kPageSize != 0) return error(ElfError::kMalformed);
  if (header.memory_size > arch::kApplicationTop ||
      header.virtual_address > arch::kApplicationTop - header.memory_size)
    return error(ElfError::kMalformed);
  if (header.alignment > 1) {
    if (!std::has_single_bit(header.alignment) || header.alignment > kMaximumAlignment)
      return error(ElfError::kMalformed);
    image.alignment = std::max(image.alignment, header.alignment);
  }
  ElfSegment segment{.offset = header.offset,
                     .address = header.virtual_address,
                     .file_size = header.file_size,
                     .memory_size = header.memory_size,
                     .protection = protection_of(header.flags)};
  if (!image.segments.empty() && segment.first_page() < image.segments.back().end_page())
    return error(ElfError::kMalformed);
  image.segments.push_back(segment);
  return {};
}

Status read_interpreter(ElfImage& image, const ProgramHeader& header, const ElfReader& read,
                        uint64_t file_size) {
  if (header.file_size < 2 || header.file_size > kMaximumInterpreterPath)
    return error(ElfError::kMalformed);
  if (!lies_in(header.offset, header.file_size, file_size)) return error(ElfError::kTruncated);
  std::string path(header.file_size, '\0');
  if (!read(header.offset, std::as_writable_bytes(std::span(path))))
    return error(ElfError::kReadFailed);
  if (path.back() != '\0') return error(ElfError::kMalformed);
  path.resize(std::strlen(path.c_str()));
  if (path.empty()) return error(ElfError::kMalformed);
  image.interpreter = std::move(path);
  return {};
}

// Where the program headers are once the segments are mapped: auxv's AT_PHDR.
uint64_t find_program_headers(const ElfImage& image, uint64_t offset, uint64_t size) {
  for (const ElfSegment& segment : image.segments)
    if (offset >= segment.offset && offset - segment.offset <= segment.file_size &&
        size <= segment.file_size - (offset - segment.offset))
      return segment.address + (offset - segment.offset);
  return 0;
}

}  // namespace

const char* text(ElfError error) {
  switch (error) {
    case ElfError::kNotElf:
      return "not an ELF program";
    case ElfError::kNot64Bit:
      return "a 32-bit program: only 64-bit programs run here";
    case ElfError::kOtherArchitecture:
      return "a program for another architecture than x86-64";
    case ElfError::kNotExecutable:
      return "an ELF file, but not a program";
    case ElfError::kTruncated:
      return "a truncated program: the file ends before its contents";
    case ElfError::kMalformed:
      return "a damaged program: its ELF headers make no sense";
    case ElfError::kReadFailed:
      return "the program could not be read";
    case ElfError::kNoMemory:
      return "no memory to load the program: pass a larger --memory";
  }
  return "not a program";
}

std::expected<ElfImage, ElfError> parse_elf(const ElfReader& read, uint64_t file_size) {
  FileHeader header;
  // Anything too short to carry the magic number cannot claim to be cut off.
  if (file_size < sizeof kMagic) return error(ElfError::kNotElf);
  if (file_size < sizeof header) {
    uint8_t magic[sizeof kMagic];
    if (!read(0, std::as_writable_bytes(std::span(magic)))) return error(ElfError::kReadFailed);
    bool is_elf = std::memcmp(magic, kMagic, sizeof kMagic) == 0;
    return error(is_elf ? ElfError::kTruncated : ElfError::kNotElf);
  }
  if (!read(0, std::as_writable_bytes(std::span(&header, 1)))) return error(ElfError::kReadFailed);
  if (Status status = check_file_header(header); !status) return error(status.error());
  uint64_t table_size = uint64_t{header.program_header_count} * sizeof(ProgramHeader);
  if (!lies_in(header.program_header_offset, table_size, file_size))
    return error(ElfError::kTruncated);

  ElfImage image;
  image.position_independent = header.type == kTypeShared;
  image.entry = header.entry;
  image.program_header_count = header.program_header_count;
  uint64_t declared_headers = 0;
  for (uint64_t i = 0; i < header.program_header_count; ++i) {
    ProgramHeader entry;
    if (!read(header.program_header_offset + i * sizeof entry,
              std::as_writable_bytes(std::span(&entry, 1))))
      return error(ElfError::kReadFailed);
    Status status;
    switch (entry.type) {
      case kLoad:
        status = add_segment(image, entry, file_size);
        break;
      case kInterpreter:
        if (!image.interpreter.empty()) return error(ElfError::kMalformed);
        status = read_interpreter(image, entry, read, file_size);
        break;
      case kProgramHeaders:
        declared_headers = entry.virtual_address;
        break;
      case kGnuStack:
        image.executable_stack = (entry.flags & kFlagExecute) != 0;
        break;
      default:
        break;
    }
    if (!status) return error(status.error());
  }
  if (image.segments.empty()) return error(ElfError::kNotExecutable);
  if (!image.position_independent && image.lowest() < arch::kApplicationBottom)
    return error(ElfError::kMalformed);
  image.program_headers = find_program_headers(image, header.program_header_offset, table_size);
  if (image.program_headers == 0) image.program_headers = declared_headers;
  return image;
}

}  // namespace aril::linux_abi
