#include "specialize/component_table.hpp"

#include <fcntl.h>
#include <gelf.h>

#include <cstring>
#include <format>
#include <memory>

#include "support/error.hpp"
#include "support/file.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kCallSection = "aril_syscalls.";
constexpr std::string_view kPartSection = "aril_boot_parts.";
constexpr std::string_view kProcSection = "aril_proc_files";
constexpr std::string_view kUseSection = ".text.only_for.";

struct ElfEnd {
  void operator()(Elf* elf) const { elf_end(elf); }
};
using ElfHandle = std::unique_ptr<Elf, ElfEnd>;

/// Puts the global functions in sections for one use into the component.
void read_functions(Elf* elf, const std::map<size_t, std::string>& use_of_section,
                    Component& component) {
  for (Elf_Scn* section = nullptr; (section = elf_nextscn(elf, section)) != nullptr;) {
    GElf_Shdr header;
    const bool is_table = gelf_getshdr(section, &header) != nullptr &&
                          header.sh_type == SHT_SYMTAB && header.sh_entsize != 0;
    Elf_Data* data = is_table ? elf_getdata(section, nullptr) : nullptr;
    if (data == nullptr) continue;
    const int count = static_cast<int>(data->d_size / header.sh_entsize);
    GElf_Sym symbol;
    for (int i = 0; i < count && gelf_getsym(data, i, &symbol) != nullptr; ++i) {
      const auto use = use_of_section.find(symbol.st_shndx);
      if (use == use_of_section.end() || GELF_ST_BIND(symbol.st_info) == STB_LOCAL) continue;
      const char* name = elf_strptr(elf, header.sh_link, symbol.st_name);
      if (name != nullptr) component.functions_for[use->second].emplace_back(name);
    }
  }
}

/// One member of an archive: an object file, with the sections that register something.
void read_object(Elf* elf, Component& component) {
  size_t names = 0;
  if (elf_kind(elf) != ELF_K_ELF || elf_getshdrstrndx(elf, &names) != 0) return;
  std::map<size_t, std::string> use_of_section;
  for (Elf_Scn* section = nullptr; (section = elf_nextscn(elf, section)) != nullptr;) {
    GElf_Shdr header;
    if (gelf_getshdr(section, &header) == nullptr || (header.sh_flags & SHF_ALLOC) == 0) continue;
    if (header.sh_type != SHT_NOBITS) component.size += header.sh_size;
    const char* text = elf_strptr(elf, names, header.sh_name);
    const std::string_view name = text != nullptr ? text : "";
    if (name.starts_with(kPartSection)) {
      component.parts.emplace_back(name.substr(kPartSection.size()));
    } else if (name.starts_with(kUseSection)) {
      use_of_section[elf_ndxscn(section)] = name.substr(kUseSection.size());
    } else if (name == kProcSection) {
      component.has_proc_files = true;
    } else if (name.starts_with(kCallSection)) {
      const Elf_Data* data = elf_getdata(section, nullptr);
      uint32_t number = 0;  // the first member of SyscallRecord (linux/abi/syscall.hpp)
      if (data == nullptr || data->d_size < sizeof number) continue;
      std::memcpy(&number, data->d_buf, sizeof number);
      component.calls[std::string(name.substr(kCallSection.size()))] = number;
    }
  }
  if (!use_of_section.empty()) read_functions(elf, use_of_section, component);
}

void read_archive(Component& component) {
  const Descriptor fd(open(component.archive.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) fail_with_errno(component.archive.string(), errno);
  const ElfHandle archive(elf_begin(fd.get(), ELF_C_READ_MMAP, nullptr));
  if (!archive || elf_kind(archive.get()) != ELF_K_AR) {
    throw Error(std::format("{}: is not an archive", component.archive.string()));
  }
  Elf_Cmd next = ELF_C_READ_MMAP;
  while (next != ELF_C_NULL) {
    const ElfHandle member(elf_begin(fd.get(), next, archive.get()));
    if (!member) break;
    read_object(member.get(), component);
    next = elf_next(member.get());
  }
}

}  // namespace

std::vector<Component> read_components(const fs::path& directory, const std::string& set) {
  std::error_code ignored;
  if (!fs::exists(directory / "components.txt", ignored) || !fs::exists(directory / set, ignored)) {
    throw Error(
        std::format("{}: there are no components for the profile '{}'", directory.string(), set),
        "./dev build makes them");
  }
  elf_version(EV_CURRENT);
  std::vector<Component> components;
  for (const std::string& line : split(read_file(directory / "components.txt"), '\n')) {
    const std::vector<std::string> words = split(trim(line), ' ');
    if (words.size() < 3) continue;
    Component component = {.name = words[0], .layer = words[1]};
    component.depends.assign(words.begin() + 3, words.end());
    if (words[2] == "archive") {
      component.archive = directory / set / (component.name + ".a");
      read_archive(component);
    }
    components.push_back(std::move(component));
  }
  return components;
}

}  // namespace aril::tool
