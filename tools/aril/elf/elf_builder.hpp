#pragma once
#include <elf.h>

#include <cstring>
#include <string>
#include <vector>

namespace aril::tool {

/// Makes small ELF files for tests: one PT_LOAD over the whole file, a dynamic section with what is
/// asked for, and an interpreter.
struct ElfBuilder {
  uint16_t machine = EM_X86_64;
  std::string interpreter;
  std::vector<std::string> needed;
  std::string rpath;
  std::string runpath;

  std::string build() const {
    std::string strings(1, '\0');
    std::vector<Elf64_Dyn> dynamic;
    const auto add_string = [&](int64_t tag, const std::string& text) {
      dynamic.push_back({.d_tag = tag, .d_un = {.d_val = strings.size()}});
      strings += text;
      strings += '\0';
    };
    for (const std::string& name : needed) add_string(DT_NEEDED, name);
    if (!rpath.empty()) add_string(DT_RPATH, rpath);
    if (!runpath.empty()) add_string(DT_RUNPATH, runpath);

    const uint64_t headers = sizeof(Elf64_Ehdr) + 3 * sizeof(Elf64_Phdr);
    const uint64_t strings_at = headers;
    const uint64_t interpreter_at = strings_at + strings.size();
    const uint64_t dynamic_at = interpreter_at + interpreter.size() + 1;
    dynamic.push_back({.d_tag = DT_STRTAB, .d_un = {.d_ptr = kBase + strings_at}});
    dynamic.push_back({.d_tag = DT_NULL, .d_un = {}});
    const uint64_t dynamic_size = dynamic.size() * sizeof(Elf64_Dyn);
    const uint64_t total = dynamic_at + dynamic_size;

    Elf64_Ehdr header = {};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = ET_DYN;
    header.e_machine = machine;
    header.e_version = EV_CURRENT;
    header.e_phoff = sizeof header;
    header.e_ehsize = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 3;
    const Elf64_Phdr program_headers[3] = {
        {PT_LOAD, PF_R, 0, kBase, kBase, total, total, 4096},
        {PT_DYNAMIC, PF_R, dynamic_at, kBase + dynamic_at, 0, dynamic_size, dynamic_size, 8},
        {interpreter.empty() ? uint32_t{PT_NULL} : uint32_t{PT_INTERP}, PF_R, interpreter_at,
         kBase + interpreter_at, 0, interpreter.size() + 1, interpreter.size() + 1, 1}};

    std::string file;
    const auto append = [&](const void* data, size_t size) {
      file.append(static_cast<const char*>(data), size);
    };
    append(&header, sizeof header);
    append(program_headers, sizeof program_headers);
    file += strings + interpreter + '\0';
    append(dynamic.data(), dynamic_size);
    return file;
  }

  static constexpr uint64_t kBase = 0x10000;
};

}  // namespace aril::tool
