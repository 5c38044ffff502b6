#pragma once
#include "base/process_abi.hpp"
#include "options.hpp"

namespace aril::tender {

/// Opens memory, root, disks and network, and maps the first two; fills in what the kernel is told
/// of them. Closes every other descriptor of this process but the standard streams.
void open_resources(const Options& options, ProcessBoot& boot);

}  // namespace aril::tender
