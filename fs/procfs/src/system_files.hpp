#pragma once
#include <optional>

#include "fs/procfs/procfs.hpp"

namespace aril::procfs {

/// The composition root's answers, shared by the generators of many files.
struct SharedSystemSource final : RefCounted {
  explicit SharedSystemSource(SystemSource system) : source(std::move(system)) {}
  const SystemSource source;
};

/// meminfo, cpuinfo, stat, uptime, loadavg, version, filesystems, cmdline...
void add_system_files(synthetic::Directory& root, const RefPtr<SharedSystemSource>& system,
                      ProcessSource& processes);
/// sys/.
void add_kernel_parameters(synthetic::Directory& root, const RefPtr<SharedSystemSource>& system);

/// A process or descriptor number as it stands in a name; nullopt for anything else.
std::optional<int> parse_id(std::string_view name);

}  // namespace aril::procfs
