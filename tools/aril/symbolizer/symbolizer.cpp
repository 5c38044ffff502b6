#include "symbolizer/symbolizer.hpp"

#include <cxxabi.h>
#include <elfutils/libdwfl.h>

#include <algorithm>
#include <cstdlib>
#include <format>
#include <vector>

#include "elf/elf_file.hpp"
#include "support/error.hpp"
#include "support/file.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

/// The kernel's half of the address space.
constexpr uint64_t kKernelStart = 0xffff'8000'0000'0000;

std::string demangle(const char* name) {
  // Without the prefix the name of a C function could be read as that of a type: "f" as float.
  if (!std::string_view(name).starts_with("_Z")) return name;
  int status = 0;
  char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string result = status == 0 ? text : name;
  free(text);
  return result;
}

/// The parts of a path that tell files apart: the last three.
std::string short_path(const char* path) {
  const std::vector<std::string> parts = split(path, '/');
  std::string result;
  for (size_t i = parts.size() > 3 ? parts.size() - 3 : 0; i < parts.size(); ++i) {
    if (!result.empty()) result += '/';
    result += parts[i];
  }
  return result;
}

struct Word {
  size_t start = 0;
  size_t end = 0;
  std::string_view text;
};

std::vector<Word> words_of(std::string_view line) {
  std::vector<Word> words;
  for (size_t at = 0; at < line.size();) {
    if (line[at] == ' ') {
      ++at;
      continue;
    }
    const size_t end = std::min(line.find(' ', at), line.size());
    words.push_back({at, end, line.substr(at, end - at)});
    at = end;
  }
  return words;
}

}  // namespace

/// One file, opened with libdwfl as if it were loaded where it was linked.
class Symbolizer::Module {
 public:
  explicit Module(const fs::path& path) {
    try {
      elf_ = parse_elf(MappedFile(path).bytes());
    } catch (const Error&) {
      return;
    }
    static char* debug_path =
        nullptr;  // libdwfl's default: beside the file, .debug, /usr/lib/debug
    static const Dwfl_Callbacks callbacks = {.find_elf = dwfl_build_id_find_elf,
                                             .find_debuginfo = dwfl_standard_find_debuginfo,
                                             .section_address = dwfl_offline_section_address,
                                             .debuginfo_path = &debug_path};
    dwfl_ = dwfl_begin(&callbacks);
    if (dwfl_ == nullptr) return;
    module_ = dwfl_report_offline(dwfl_, "", path.c_str(), -1);
    dwfl_report_end(dwfl_, nullptr, nullptr);
    if (module_ != nullptr) {
      GElf_Addr bias = 0;
      dwfl_module_getelf(module_, &bias);
      bias_ = bias;
    }
  }
  ~Module() { dwfl_end(dwfl_); }
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  /// "function+0x12 (file.c:34)" for an address as linked; empty when nothing is known.
  std::string describe(uint64_t address) const {
    if (module_ == nullptr) return {};
    std::string text;
    GElf_Off offset = 0;
    GElf_Sym symbol = {};
    const char* name =
        dwfl_module_addrinfo(module_, address + bias_, &offset, &symbol, nullptr, nullptr, nullptr);
    if (name != nullptr) text = std::format("{}+{:#x}", demangle(name), uint64_t{offset});
    if (const std::string place = source_line(address); !place.empty()) {
      text += std::format("{}({})", text.empty() ? "" : " ", place);
    }
    return text;
  }

  std::string describe_offset(uint64_t offset) const {
    for (const ElfSegment& segment : elf_.segments) {
      if (offset >= segment.offset && offset - segment.offset < segment.file_size) {
        return describe(segment.address + (offset - segment.offset));
      }
    }
    return {};
  }

 private:
  /// Looks through all compilation units: clang writes no .debug_aranges, which libdwfl's own
  /// search relies on.
  std::string source_line(uint64_t address) const {
    Dwarf_Die* unit = nullptr;
    Dwarf_Addr bias = 0;
    while ((unit = dwfl_module_nextcu(module_, unit, &bias)) != nullptr) {
      const Dwarf_Addr in_file = address + bias_ - bias;
      if (dwarf_haspc(unit, in_file) <= 0) continue;
      Dwarf_Line* line = dwarf_getsrc_die(unit, in_file);
      int number = 0;
      const char* file = dwarf_linesrc(line, nullptr, nullptr);
      if (file == nullptr || dwarf_lineno(line, &number) != 0) return {};
      return std::format("{}:{}", short_path(file), number);
    }
    return {};
  }

  ElfFile elf_;
  Dwfl* dwfl_ = nullptr;
  Dwfl_Module* module_ = nullptr;
  uint64_t bias_ = 0;
};

Symbolizer::Symbolizer(fs::path kernel, FindFile find_file)
    : kernel_(std::move(kernel)), find_file_(std::move(find_file)) {}

Symbolizer::~Symbolizer() = default;

Symbolizer::Module* Symbolizer::module(const fs::path& path) {
  auto& slot = modules_[path];
  if (slot == nullptr) slot = std::make_unique<Module>(path);
  return slot.get();
}

std::string Symbolizer::annotate(std::string_view line) {
  const std::vector<Word> words = words_of(line);
  std::string result;
  size_t copied = 0;
  const auto insert_after = [&](const Word& word, const std::string& text) {
    result += line.substr(copied, word.end - copied);
    copied = word.end;
    if (!text.empty()) result += " " + text;
  };
  for (size_t i = 0; i < words.size(); ++i) {
    if (!words[i].text.starts_with("0x")) continue;
    const auto address = parse_number(words[i].text);
    if (!address) continue;
    if (*address >= kKernelStart) {
      insert_after(words[i], module(kernel_)->describe(*address));
      continue;
    }
    if (i + 1 == words.size()) continue;
    const size_t plus = words[i + 1].text.rfind("+0x");
    if (plus == std::string_view::npos) continue;
    const auto offset = parse_number(words[i + 1].text.substr(plus + 1));
    const auto host = find_file_(std::string(words[i + 1].text.substr(0, plus)));
    if (!offset || !host) continue;
    insert_after(words[i + 1], module(*host)->describe_offset(*offset));
    ++i;
  }
  return result + std::string(line.substr(copied));
}

}  // namespace aril::tool
