#pragma once
#include <functional>
#include <string>
#include <vector>

#include "manifest/manifest.hpp"
#include "support/file.hpp"

namespace aril::tool {

/// Disks of one machine: so many letters has Linux's vda .. vdz.
inline constexpr size_t kMaximumDisks = 16;

/// Makes sure that each disk can be attached: it is there (or is made and formatted now, which
/// `say` tells), holds an ext4 file system, may be opened, and nobody else uses it. Throws Error
/// that says what to do. The descriptors hold the locks: keep them as long as the machine runs.
std::vector<Descriptor> prepare_disks(const std::vector<Disk>& disks,
                                      const std::function<void(const std::string&)>& say);

}  // namespace aril::tool
