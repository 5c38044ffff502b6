#pragma once
#include "fs/procfs/process_source.hpp"

namespace aril::linux_abi {

/// What /proc shows of processes and tasks. Lives for ever.
procfs::ProcessSource& process_source();

}  // namespace aril::linux_abi
