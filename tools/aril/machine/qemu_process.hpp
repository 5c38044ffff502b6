#pragma once
#include <string>

#include "machine/qemu_command.hpp"
#include "support/file.hpp"
#include "support/process.hpp"

namespace aril::tool {

/// A running QEMU and this side's ends of its lines, all non-blocking. It is killed when the object
/// goes, and when this process dies in whatever way.
struct QemuProcess {
  ChildProcess process;
  Descriptor console;   ///< stdin and stdout of the program
  Descriptor error;     ///< its stderr
  Descriptor control;   ///< COM1
  Descriptor monitor;   ///< QMP
  Descriptor messages;  ///< what QEMU itself has to say

  static QemuProcess start(const std::vector<std::string>& command);
};

}  // namespace aril::tool
