#pragma once
#include <cstdint>

#include "base/ref_ptr.hpp"
#include "kernel/io/devices.hpp"
#include "kernel/io/file.hpp"

/// The program's stdin, stdout and stderr over the host's byte channels. What `aril` says is a
/// terminal (tty=) is one here; the rest look like pipes, so that isatty(3) is false.
namespace aril::linux_abi {

/// What the platform knows; the devices live for ever. `output` may be the same as `input`.
struct StdioConfig {
  CharDevice* input = nullptr;
  CharDevice* output = nullptr;
  CharDevice* error = nullptr;  ///< null: as output
  bool terminal_input = false, terminal_output = false, terminal_error = false;
  uint16_t columns = 80, rows = 24;
};

struct StdioFiles {
  RefPtr<File> input, output, error;
};

/// Once, before the first program. Also serves /dev/console, /dev/tty, /dev/ptmx and /dev/pts/N.
/// kNoMem.
Result<StdioFiles> create_stdio(const StdioConfig& config);

/// The control line's "eof COUNT": stdin ends after this many bytes in all. Thread context.
void end_standard_input(uint64_t count);
/// The control line's "winsize". Thread context.
void set_console_window(uint16_t columns, uint16_t rows);

}  // namespace aril::linux_abi
