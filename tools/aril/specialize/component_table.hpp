#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace aril::tool {

/// A part of the kernel: an archive that an image may or may not need.
struct Component {
  std::string name;   ///< "linux_sockets"
  std::string layer;  ///< "linux"
  std::vector<std::string> depends;
  std::filesystem::path archive;          ///< empty: headers only
  uint64_t size = 0;                      ///< bytes of code, constants and data in it
  std::map<std::string, uint32_t> calls;  ///< system calls that it serves, with their numbers
  std::vector<std::string> parts;         ///< steps of the boot: "300.network"
  bool has_proc_files = false;
  /// Functions that are there for some use alone (base/image_use.hpp): "connect" -> symbols.
  std::map<std::string, std::vector<std::string>> functions_for;
};

/// The archives that belong to this `aril`, in dependency order.
/// @param directory  build/lib/aril: components.txt and the sets of archives
/// @param set        "default" or "tiny"
/// Throws Error when they are not there or not archives.
std::vector<Component> read_components(const std::filesystem::path& directory,
                                       const std::string& set);

}  // namespace aril::tool
