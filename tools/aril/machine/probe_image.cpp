#include "machine/probe_image.hpp"

#include <elf.h>

#include <array>
#include <cstdint>
#include <cstring>

namespace aril::tool {

namespace {

constexpr uint32_t kLoadAddress = 0x100000;

// Entered in 32-bit protected mode, paging off [PVH].
constexpr std::array<uint8_t, 22> kCode = {
    0xb9, 0x80, 0x84, 0x1e, 0x00,        // mov ecx, 2000000
    0x49,                                // dec ecx
    0x75, 0xfd,                          // jnz -3
    0x0f, 0x01, 0x1d, 0,    0,    0, 0,  // lidt [empty]: the next fault is a triple fault
    0x0f, 0x0b,                          // ud2
    0,    0,    0,    0,    0,           // (the empty table)
};
constexpr size_t kLidtOperand = 11;
constexpr size_t kEmptyTable = 17;

/// [PVH] the note that names the entry point.
struct EntryNote {
  Elf32_Nhdr header = {.n_namesz = 4, .n_descsz = 4, .n_type = 18};  // XEN_ELFNOTE_PHYS32_ENTRY
  char name[4] = {'X', 'e', 'n', 0};
  uint32_t entry = 0;
};

struct Image {
  Elf64_Ehdr header = {};
  Elf64_Phdr load = {};
  Elf64_Phdr note_header = {};
  EntryNote note = {};
  std::array<uint8_t, 32> code = {};
};

}  // namespace

std::string probe_image() {
  Image image;
  const uint32_t code_address = kLoadAddress + offsetof(Image, code);
  std::memcpy(image.header.e_ident, ELFMAG, SELFMAG);
  image.header.e_ident[EI_CLASS] = ELFCLASS64;
  image.header.e_ident[EI_DATA] = ELFDATA2LSB;
  image.header.e_ident[EI_VERSION] = EV_CURRENT;
  image.header.e_type = ET_EXEC;
  image.header.e_machine = EM_X86_64;
  image.header.e_version = EV_CURRENT;
  image.header.e_entry = code_address;
  image.header.e_phoff = offsetof(Image, load);
  image.header.e_ehsize = sizeof(Elf64_Ehdr);
  image.header.e_phentsize = sizeof(Elf64_Phdr);
  image.header.e_phnum = 2;
  image.load = {.p_type = PT_LOAD,
                .p_flags = PF_R | PF_X,
                .p_offset = 0,
                .p_vaddr = kLoadAddress,
                .p_paddr = kLoadAddress,
                .p_filesz = sizeof image,
                .p_memsz = sizeof image,
                .p_align = 4096};
  image.note_header = {.p_type = PT_NOTE,
                       .p_flags = PF_R,
                       .p_offset = offsetof(Image, note),
                       .p_vaddr = kLoadAddress + offsetof(Image, note),
                       .p_paddr = kLoadAddress + offsetof(Image, note),
                       .p_filesz = sizeof(EntryNote),
                       .p_memsz = sizeof(EntryNote),
                       .p_align = 4};
  image.note.entry = code_address;
  std::memcpy(image.code.data(), kCode.data(), kCode.size());
  const uint32_t table = code_address + kEmptyTable;
  std::memcpy(image.code.data() + kLidtOperand, &table, sizeof table);
  // The image as it lies in memory is the file.
  return std::string(reinterpret_cast<const char*>(&image), sizeof image);
}

}  // namespace aril::tool
