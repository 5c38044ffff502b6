#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "image/tree.hpp"
#include "manifest/manifest.hpp"
#include "specialize/component_table.hpp"
#include "specialize/system_call_scan.hpp"

namespace aril::tool {

/// What of the kernel goes into an image, each thing with the reason.
struct Selection {
  std::string set;                           ///< which archives: "default" or "tiny"
  std::map<std::string, std::string> calls;  ///< "socket" -> "in /usr/sbin/nginx"
  std::map<std::string, std::string> parts;  ///< "300.network" -> "the system call socket"
  std::set<std::string> components;          ///< wanted whole
  std::set<std::string> left_out;            ///< must not come along, even if something mentions it
  std::vector<std::string> notes;            ///< what the analysis could not see
  std::map<std::string, SystemCallScan> scans;  ///< of the tree's ELF files, by their paths
};

/// Decides what `manifest` needs: from the system calls in the ELF files of `tree`, the machine,
/// and the manifest's own wishes. Throws Error for a wish that nothing fulfils.
Selection select_components(const Manifest& manifest, const Tree& tree,
                            const std::vector<Component>& components);

}  // namespace aril::tool
