#pragma once
#include <string>

#include "machine/qemu_command.hpp"
#include "support/file.hpp"
#include "support/process.hpp"

namespace aril::tool {

/// A running machine (QEMU, or an instance as a process) and this side's ends of its lines, all
/// non-blocking. It is killed when the object goes, and when this process dies in whatever way.
struct MachineProcess {
  ChildProcess process;
  Descriptor console;   ///< stdin and stdout of the program
  Descriptor error;     ///< its stderr
  Descriptor control;   ///< COM1
  Descriptor monitor;   ///< QMP; none where there is no QEMU
  Descriptor messages;  ///< what QEMU itself has to say
  const char* name;     ///< for messages: what the process is
  /// Whether it ends with the program's status by itself; QEMU does not.
  bool ends_with_status;

  /// `taps`: the queues that it inherits as kFirstTapDescriptor and so on.
  static MachineProcess start_qemu(const std::vector<std::string>& command,
                                   std::vector<Descriptor> taps);
  /// The tender, with its control line as descriptor kTenderControl; of `inherited`, each
  /// descriptor gets the number that stands beside it.
  static MachineProcess start_tender(const std::vector<std::string>& command,
                                     std::vector<std::pair<int, int>> inherited);
  static constexpr int kTenderControl = 3;
};

}  // namespace aril::tool
