#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace aril::tool {

/// Turns code addresses of reports into functions and source lines, from the symbol tables and
/// DWARF of files on this host, including separate debug information in /usr/lib/debug.
class Symbolizer {
 public:
  /// The host's file for a path inside the machine; nothing when it is not known.
  using FindFile = std::function<std::optional<std::filesystem::path>(const std::string&)>;

  /// @param kernel  the kernel's ELF file with debug information
  Symbolizer(std::filesystem::path kernel, FindFile find_file);
  ~Symbolizer();

  /// The report's line with what is known added after each address: " 0xADDRESS" is the kernel's,
  /// " 0xADDRESS PATH+0xOFFSET" (an offset into the file) a program's. Other text stays as it is.
  std::string annotate(std::string_view line);

 private:
  class Module;

  Module* module(const std::filesystem::path& path);

  std::filesystem::path kernel_;
  FindFile find_file_;
  std::map<std::filesystem::path, std::unique_ptr<Module>> modules_;
};

}  // namespace aril::tool
