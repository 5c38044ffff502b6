#include "image/packed_image.hpp"

#include <lzma.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <format>

#include "base/image_abi.hpp"
#include "elf/elf_file.hpp"
#include "image/code_split.hpp"
#include "image/erofs_reader.hpp"
#include "image/image_elf.hpp"
#include "support/error.hpp"
#include "support/file.hpp"

namespace aril::tool {

namespace {

constexpr uint64_t kPage = 4096;
/// For the stub's model and stack (platform/vm/unpack/start.S).
constexpr uint64_t kWorkSize = 0x5000;
/// The stub takes positions modulo this from addresses.
constexpr uint64_t kPositions = 4;
constexpr uint64_t kLargestMemory = uint64_t{1} << 30;
constexpr uint32_t kPvhEntryNote = 18;  ///< XEN_ELFNOTE_PHYS32_ENTRY

/// The stub's words, at byte 4 after its first jump.
struct StubWords {
  char magic[8];
  uint32_t destination, entry, payload, work, split, split_size;
};
constexpr size_t kWordsAt = 4;

/// Section ".aril.packed".
struct PackedDescriptor {
  uint64_t address, size;            ///< unpacked
  uint64_t offset, compressed_size;  ///< in the file
  uint64_t split_size;               ///< decompressed, before its code is put together
};

template <class T>
std::string bytes_of_object(const T& object) {
  return {reinterpret_cast<const char*>(&object), sizeof object};  // as it stands in the file
}

struct Note {
  Elf64_Nhdr header = {.n_namesz = 4, .n_descsz = 4, .n_type = kPvhEntryNote};
  char name[4] = {'X', 'e', 'n', '\0'};
  uint32_t entry = 0;
};

uint32_t pvh_entry(std::span<const std::byte> image) {
  const auto header = read_at<Elf64_Ehdr>(image, 0);
  for (uint16_t i = 0; header && i < header->e_phnum; ++i) {
    const auto segment = read_at<Elf64_Phdr>(image, header->e_phoff + i * sizeof(Elf64_Phdr));
    if (!segment || segment->p_type != PT_NOTE) continue;
    const auto note = read_at<Note>(image, segment->p_offset);
    if (note && note->header.n_type == kPvhEntryNote && std::strcmp(note->name, "Xen") == 0) {
      return note->entry;
    }
  }
  throw Error("has no PVH entry, so that it cannot be packed");
}

UnpackedMemory flatten(std::span<const std::byte> image, const ElfFile& elf) {
  uint64_t start = UINT64_MAX;
  uint64_t end = 0;
  for (const ElfSegment& segment : elf.segments) {
    if (segment.memory_size == 0) continue;
    start = std::min(start, segment.physical_address);
    end = std::max(end, segment.physical_address + segment.memory_size);
  }
  if (start >= end || end - start > kLargestMemory) throw Error("is too large to be packed");
  UnpackedMemory memory = {
      .address = start, .bytes = std::string(end - start, '\0'), .packed_size = 0};
  for (const ElfSegment& segment : elf.segments) {
    const auto bytes = slice(image, segment.offset, segment.file_size);
    if (!bytes) throw Error("is damaged: a segment is not all there");
    std::memcpy(memory.bytes.data() + (segment.physical_address - start), bytes->data(),
                bytes->size());
  }
  return memory;
}

/// The code of the programs in a root file system.
std::vector<CodeRange> code_in_root(std::span<const std::byte> root) {
  std::vector<CodeRange> found;
  const ErofsReader files(root);
  for (const ErofsEntry& entry : files.list()) {
    const auto content = S_ISREG(entry.mode) ? files.read(entry.path) : std::nullopt;
    if (!content || !looks_like_elf(bytes_of(*content))) continue;
    try {
      for (const ElfSegment& segment : parse_elf(bytes_of(*content)).segments) {
        const bool in_place = segment.offset + segment.file_size <= entry.in_place;
        if ((segment.flags & PF_X) != 0 && in_place)
          found.push_back({.offset = entry.offset + segment.offset, .size = segment.file_size});
      }
    } catch (const Error&) {
      continue;  // for another machine, or no program after all
    }
  }
  return found;
}

/// The code of the kernel, and of programs in the root.
std::vector<CodeRange> code_in(const UnpackedMemory& memory, const ImageInfo& info) {
  std::vector<CodeRange> found;
  const auto add = [&](uint64_t offset, uint64_t size) {
    if (size == 0 || offset > memory.bytes.size() || size > memory.bytes.size() - offset) return;
    found.push_back({.offset = offset, .size = size});
  };
  for (const ElfSegment& segment : info.elf.segments) {
    if ((segment.flags & PF_X) != 0) {
      add(segment.physical_address - memory.address, segment.file_size);
    }
  }
  if (info.descriptor.root_size != 0) {  // else it is a disk
    const uint64_t root_at = info.descriptor.root_address - memory.address;
    const auto root = slice(bytes_of(memory.bytes), root_at, info.descriptor.root_size);
    if (!root) throw Error("is damaged: its root file system is not all there");
    for (const CodeRange& range : code_in_root(*root)) add(root_at + range.offset, range.size);
  }
  std::ranges::sort(found, std::greater(), &CodeRange::size);
  if (found.size() > kMostCodeRanges) found.resize(kMostCodeRanges);
  std::ranges::sort(found, std::less(), &CodeRange::offset);
  uint64_t end = 0;  // of those before: files may say what they like of themselves
  std::erase_if(found, [&](const CodeRange& range) {
    if (range.offset < end) return true;
    end = range.offset + range.size;
    return false;
  });
  return found;
}

/// What platform/vm/unpack/unpack.cpp understands, and as hard as it can be tried.
lzma_options_lzma compression_options() {
  lzma_options_lzma options = {};
  if (lzma_lzma_preset(&options, 9 | LZMA_PRESET_EXTREME)) {
    throw Error("the compressor does not know its best setting");
  }
  options.lc = 3;
  options.lp = 0;
  options.pb = 2;
  options.nice_len = 273;
  options.depth = 1000;
  return options;
}

std::string compress(const std::string& memory) {
  lzma_options_lzma options = compression_options();
  const lzma_filter filters[] = {{.id = LZMA_FILTER_LZMA1, .options = &options},
                                 {.id = LZMA_VLI_UNKNOWN, .options = nullptr}};
  constexpr size_t kSlack = 1024;
  std::string result(memory.size() + memory.size() / 8 + kSlack, '\0');
  size_t size = 0;
  const lzma_ret status = lzma_raw_buffer_encode(
      filters, nullptr, reinterpret_cast<const uint8_t*>(memory.data()), memory.size(),
      reinterpret_cast<uint8_t*>(result.data()), &size, result.size());  // bytes are bytes
  if (status != LZMA_OK) throw Error("the image cannot be compressed");
  result.resize(size);
  return result;
}

}  // namespace

void pack_image(const std::filesystem::path& path, const std::filesystem::path& stub_path) {
  UnpackedMemory memory;
  uint32_t entry = 0;
  ImageDescriptor descriptor = {};
  SplitMemory split;
  with_context(path.string(), [&] {
    const MappedFile file(path);
    const ImageInfo info = read_image(file.bytes());
    descriptor = info.descriptor;
    memory = flatten(file.bytes(), info.elf);
    entry = pvh_entry(file.bytes());
    split = split_code(bytes_of(memory.bytes), code_in(memory, info));
  });
  std::string program = read_file(stub_path);
  auto words = read_at<StubWords>(bytes_of(program), kWordsAt);
  if (!words || std::memcmp(words->magic, "ARILPACK", sizeof words->magic) != 0) {
    throw Error(std::format("{}: is not the program that unpacks images", stub_path.string()));
  }
  split.gap = (split.gap + kPositions - 1) & ~(kPositions - 1);
  const std::string compressed = compress(split.bytes);
  const auto align16 = [](uint64_t value) { return (value + 15) & ~uint64_t{15}; };
  words->destination = static_cast<uint32_t>(memory.address);
  words->entry = entry;
  words->payload = static_cast<uint32_t>(program.size());
  words->work = static_cast<uint32_t>(align16(program.size() + compressed.size()));
  words->split = static_cast<uint32_t>(memory.address + split.gap);
  words->split_size = static_cast<uint32_t>(split.bytes.size());
  std::memcpy(program.data() + kWordsAt, &*words, sizeof *words);
  program += compressed;

  const uint64_t end = std::max(memory.bytes.size(), split.gap + split.bytes.size());
  const uint64_t address = (memory.address + end + kPage - 1) & ~(kPage - 1);
  constexpr uint64_t kProgramAt = sizeof(Elf64_Ehdr) + 2 * sizeof(Elf64_Phdr) + sizeof(Note);
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, "\177ELF\2\1\1", 7);
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_entry = address;
  header.e_phoff = header.e_ehsize = sizeof header;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 2;
  header.e_shentsize = sizeof(Elf64_Shdr);
  const Note note = {.entry = static_cast<uint32_t>(address)};
  const Elf64_Phdr segments[] = {{.p_type = PT_LOAD,
                                  .p_flags = PF_R | PF_W | PF_X,
                                  .p_offset = kProgramAt,
                                  .p_vaddr = address,
                                  .p_paddr = address,
                                  .p_filesz = program.size(),
                                  .p_memsz = words->work + kWorkSize,
                                  .p_align = 1},
                                 {.p_type = PT_NOTE,
                                  .p_flags = PF_R,
                                  .p_offset = kProgramAt - sizeof(Note),
                                  .p_vaddr = 0,
                                  .p_paddr = 0,
                                  .p_filesz = sizeof note,
                                  .p_memsz = 0,
                                  .p_align = 4}};

  // The descriptors stand behind the program; nothing of them is loaded.
  const std::string names("\0.aril.image\0.aril.packed\0.shstrtab\0", 36);
  const uint64_t image_at = (kProgramAt + program.size() + 7) & ~uint64_t{7};
  const PackedDescriptor packed = {memory.address, memory.bytes.size(), kProgramAt + words->payload,
                                   compressed.size(), split.bytes.size()};
  const uint64_t packed_at = image_at + sizeof descriptor;
  const uint64_t names_at = packed_at + sizeof packed;
  header.e_shoff = (names_at + names.size() + 7) & ~uint64_t{7};
  const Elf64_Shdr sections[] = {
      {},
      {.sh_name = 1, .sh_type = SHT_PROGBITS, .sh_offset = image_at, .sh_size = sizeof descriptor},
      {.sh_name = 13, .sh_type = SHT_PROGBITS, .sh_offset = packed_at, .sh_size = sizeof packed},
      {.sh_name = 26, .sh_type = SHT_STRTAB, .sh_offset = names_at, .sh_size = names.size()}};
  header.e_shnum = std::size(sections);
  header.e_shstrndx = header.e_shnum - 1;

  std::string file = bytes_of_object(header) + bytes_of_object(segments) + bytes_of_object(note);
  file += program;
  file.resize(image_at);
  file += bytes_of_object(descriptor) + bytes_of_object(packed) + names;
  file.resize(header.e_shoff);
  write_file(path, file + bytes_of_object(sections));
}

std::optional<UnpackedMemory> unpack_image(std::span<const std::byte> image) {
  const auto section = find_section(image, ".aril.packed");
  if (!section) return std::nullopt;
  const auto packed = read_at<PackedDescriptor>(image, section->sh_offset);
  const auto input = packed ? slice(image, packed->offset, packed->compressed_size) : std::nullopt;
  if (!input || packed->size > kLargestMemory || packed->split_size > kLargestMemory)
    throw Error("is damaged: what it unpacks to is not known");
  std::string split(packed->split_size, '\0');
  lzma_options_lzma options = compression_options();
  const lzma_filter filters[] = {{.id = LZMA_FILTER_LZMA1, .options = &options},
                                 {.id = LZMA_VLI_UNKNOWN, .options = nullptr}};
  size_t read = 0, written = 0;
  const lzma_ret status = lzma_raw_buffer_decode(
      filters, nullptr, reinterpret_cast<const uint8_t*>(input->data()), &read, input->size(),
      reinterpret_cast<uint8_t*>(split.data()), &written, split.size());
  if (status != LZMA_OK || written != split.size())
    throw Error("is damaged: it cannot be unpacked");
  return UnpackedMemory{.address = packed->address,
                        .bytes = join_code(bytes_of(split), packed->size),
                        .packed_size = packed->compressed_size};
}

}  // namespace aril::tool
