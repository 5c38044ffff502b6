#pragma once
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "kernel/io/devices.hpp"
#include "platform/common/command_line.hpp"

namespace aril::platform {

/// What the second half of the boot knows of the machine, whichever platform that is. The platform
/// fills in the first two; its boot parts 1xx and 2xx (boot_part.hpp) find the rest. Everything in
/// it lives for ever.
struct Machine {
  std::string_view command_line;
  const KernelOptions& options;

  std::vector<NetDevice*> net;
  std::vector<BlockDevice*> block;
  std::vector<MessageDevice*> volumes;

  /// Root file systems that lie in memory: with the kernel, and as a boot module. Empty: none.
  std::span<const std::byte> ram_root, module_root;

  /// The program's standard streams; stdin may be missing, stderr goes where stdout does when it
  /// is.
  CharDevice* input = nullptr;
  CharDevice* output = nullptr;
  CharDevice* error = nullptr;
};

/// The second half of the boot, on the boot thread, which may sleep: all boot parts in their order.
/// The last starts the program, whose end ends the machine (end_machine).
void run_boot_parts(Machine& machine);

/// Called by end_machine while everything still works: file systems are unmounted.
void set_before_end(void (*finish)());

/// The program has ended: tells `aril` its status and stops the machine. Any thread.
[[noreturn]] void end_machine(int exit_status);

}  // namespace aril::platform
