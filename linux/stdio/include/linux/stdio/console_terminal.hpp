#pragma once
#include "linux/stdio/stdio.hpp"

namespace aril::linux_abi {

class HostInput;

/// The host's terminal as the program's own: linux/tty has it, so that an image can do without
/// (the symbol is null then).
struct ConsoleTerminalOperations {
  /// Once: makes it from what `config` says, fed from `input`. kNoMem.
  Result<void> (*start)(const StdioConfig& config, HostInput& input);
  /// A file on it. kNoMem.
  Result<RefPtr<File>> (*open)();
  void (*set_window)(uint16_t columns, uint16_t rows);
  /// Serves /dev/console and /dev/tty, and what happens to terminals when a session ends.
  void (*serve)();
};

}  // namespace aril::linux_abi

[[gnu::weak]] extern const aril::linux_abi::ConsoleTerminalOperations aril_console_terminal;
