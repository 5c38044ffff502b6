#pragma once
#include "arch/startup.hpp"
#include "devices.hpp"
#include "firmware.hpp"
#include "platform/common/command_line.hpp"

namespace aril::platform {

/// What the first part of the boot found; all of it lives for ever.
struct VirtualMachine {
  const arch::BootInformation& boot;
  KernelOptions& options;
  Firmware& firmware;
  Devices devices = {};
};

/// The rest of the boot, on the boot thread, which may sleep: further CPUs, devices, and what is
/// the same on every platform (platform/common).
void start_up(VirtualMachine& machine);
/// For the boot parts of this platform.
VirtualMachine& virtual_machine();

}  // namespace aril::platform
