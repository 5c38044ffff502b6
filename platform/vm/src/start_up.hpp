#pragma once
#include "arch/startup.hpp"
#include "command_line.hpp"
#include "firmware.hpp"

namespace aril::platform {

/// What the first part of the boot found; all of it lives for ever.
struct Machine {
  const arch::BootInformation& boot;
  const KernelOptions& options;
  const Firmware& firmware;
};

/// The rest of the boot, on the boot thread, which may sleep: devices, network, root file system,
/// further CPUs, the program.
void start_up(const Machine& machine);

}  // namespace aril::platform
