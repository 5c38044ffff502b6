#include "specialize/system_call_rewriter.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "elf/elf_file.hpp"

namespace aril::tool {

namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kSystemCallSize = 2, kJumpSize = 5;
constexpr char kBreakpoint = '\xcc';
constexpr uint64_t kStubAlignment = 8;
/// rt_sigreturn. Unwinders and debuggers know the frame of a signal by these instructions.
constexpr uint32_t kReturnFromSignal = 15;

uint64_t align_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

/// A displacement of 32 bits from the end of an instruction.
std::optional<std::string> displacement(uint64_t from, uint64_t to) {
  const auto distance = static_cast<int64_t>(to - from);
  const auto value = static_cast<int32_t>(distance);
  if (value != distance) return std::nullopt;
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);  // as it is in memory
}

template <class T>
void append(std::string& bytes, const T& object) {
  bytes.append(reinterpret_cast<const char*>(&object), sizeof object);  // as it stands in the file
}

std::optional<std::string> make_stub(std::string_view moved, uint64_t address,
                                     uint64_t return_address) {
  std::string stub(moved);
  stub += "\x48\x8d\x0d";  // lea return_address(%rip), %rcx
  const auto distance = displacement(address + stub.size() + 4, return_address);
  if (!distance) return std::nullopt;
  stub += *distance;
  stub += std::string("\x65\xff\x24\x25\x50\0\0\0", 8);  // jmp *%gs:0x50
  stub.resize(align_up(stub.size(), kStubAlignment), kBreakpoint);
  return stub;
}

std::vector<Elf64_Phdr> program_headers(std::span<const std::byte> file, const Elf64_Ehdr& header) {
  std::vector<Elf64_Phdr> headers;
  for (uint16_t i = 0; i < header.e_phnum; ++i) {
    if (const auto one = read_at<Elf64_Phdr>(file, header.e_phoff + i * sizeof(Elf64_Phdr))) {
      headers.push_back(*one);
    }
  }
  return headers;
}

/// The new segment: the program headers, which need room for one more, and the stubs.
class StubSegment {
 public:
  StubSegment(uint64_t offset, uint64_t address, size_t header_count)
      : offset_(offset),
        address_(address),
        bytes_(align_up(header_count * sizeof(Elf64_Phdr), kStubAlignment), '\0') {}

  /// Writes the jump for `site` into `file`; false when that cannot be.
  bool add(const ElfFile& elf, const SystemCallSite& site, std::string& file) {
    const auto at = offset_of_address(elf, site.movable_from);
    const uint64_t size = site.address - site.movable_from;
    if (!at || *at > file.size() || file.size() - *at < size + kSystemCallSize) return false;
    const uint64_t stub_address = address_ + bytes_.size();
    const auto stub = make_stub(std::string_view(file).substr(*at, size), stub_address,
                                site.address + kSystemCallSize);
    const auto jump = displacement(site.movable_from + kJumpSize, stub_address);
    if (!stub || !jump) return false;
    bytes_ += *stub;
    std::string code = "\xe9" + *jump;
    code.resize(size, kBreakpoint);
    file.replace(*at, size, code);
    return true;
  }

  /// At the end of `file`, with the headers that lead to it.
  void append_to(std::string& file, Elf64_Ehdr header, std::vector<Elf64_Phdr> headers) {
    for (Elf64_Phdr& one : headers) {
      if (one.p_type != PT_PHDR) continue;
      one.p_offset = offset_;
      one.p_vaddr = one.p_paddr = address_;
      one.p_filesz = one.p_memsz = (headers.size() + 1) * sizeof(Elf64_Phdr);
    }
    headers.push_back({.p_type = PT_LOAD,
                       .p_flags = PF_R | PF_X,
                       .p_offset = offset_,
                       .p_vaddr = address_,
                       .p_paddr = address_,
                       .p_filesz = bytes_.size(),
                       .p_memsz = bytes_.size(),
                       .p_align = kPage});
    header.e_phoff = offset_;
    header.e_phnum = static_cast<uint16_t>(headers.size());
    std::memcpy(file.data(), &header, sizeof header);
    std::string table;
    for (const Elf64_Phdr& one : headers) append(table, one);
    bytes_.replace(0, table.size(), table);
    file.resize(offset_, '\0');
    file += bytes_;
  }

 private:
  uint64_t offset_, address_;
  std::string bytes_;
};

}  // namespace

std::optional<RewrittenProgram> rewrite_system_calls(std::span<const std::byte> file,
                                                     const SystemCallScan& scan) {
  const ElfFile elf = parse_elf(file);
  const auto header = read_at<Elf64_Ehdr>(file, 0);
  const bool is_static = !elf.interpreter && elf.needed.empty() && !elf.soname && elf.entry != 0 &&
                         !elf.segments.empty();
  // The stubs find the kernel through GS.
  if (!is_static || !header || scan.changes_gs || header->e_phentsize != sizeof(Elf64_Phdr)) {
    return std::nullopt;
  }
  const std::vector<Elf64_Phdr> headers = program_headers(file, *header);
  if (headers.size() != header->e_phnum || headers.size() + 1 >= PN_XNUM) return std::nullopt;
  uint64_t end = 0;
  for (const ElfSegment& segment : elf.segments) {
    end = std::max(end, segment.address + segment.memory_size);
  }
  RewrittenProgram result;
  result.file.assign(reinterpret_cast<const char*>(file.data()), file.size());  // bytes
  const uint64_t offset = align_up(file.size(), alignof(Elf64_Phdr));
  // A page of the file holds the end of what was there and the beginning of the stubs.
  StubSegment stubs(offset, align_up(end, kPage) + offset % kPage, headers.size() + 1);
  for (const SystemCallSite& site : scan.sites) {
    const bool is_sure = site.movable_from != 0 && !site.numbers.empty();
    if (is_sure && !site.numbers.contains(kReturnFromSignal) && stubs.add(elf, site, result.file))
      ++result.jumps;
  }
  if (result.jumps == 0) return std::nullopt;
  stubs.append_to(result.file, *header, headers);
  return result;
}

}  // namespace aril::tool
