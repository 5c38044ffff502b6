#include "linux/stdio/stdio.hpp"

#include "base/unique.hpp"
#include "linux/stdio/console_terminal.hpp"
#include "linux/stdio/host_stream.hpp"

namespace aril::linux_abi {

namespace {

// Made once, before the first program; lives for ever.
constinit HostInput* g_input = nullptr;

bool has_terminals() { return &aril_console_terminal != nullptr; }

}  // namespace

Result<StdioFiles> create_stdio(const StdioConfig& config) {
  ARIL_ASSERT(config.output != nullptr);
  CharDevice& error = config.error != nullptr ? *config.error : *config.output;
  g_input = ARIL_TRY(try_make_unique<HostInput>(config.input)).release();
  if (has_terminals()) {
    aril_console_terminal.serve();
    if (config.terminal_input || config.terminal_output || config.terminal_error)
      ARIL_TRY(aril_console_terminal.start(config, *g_input));
  }
  StdioFiles files;
  if (has_terminals() && config.terminal_input) {
    files.input = ARIL_TRY(aril_console_terminal.open());
  } else {
    files.input = ARIL_TRY(try_make_ref<HostInputFile>(*g_input));
  }
  if (has_terminals() && config.terminal_output) {
    files.output = ARIL_TRY(aril_console_terminal.open());
  } else {
    files.output = ARIL_TRY(try_make_ref<HostOutputFile>(*config.output));
  }
  if (has_terminals() && config.terminal_error) {
    files.error = ARIL_TRY(aril_console_terminal.open());
  } else {
    files.error = ARIL_TRY(try_make_ref<HostOutputFile>(error));
  }
  return files;
}

void end_standard_input(uint64_t count) {
  if (g_input != nullptr) g_input->end_after(count);
}

void set_console_window(uint16_t columns, uint16_t rows) {
  if (has_terminals()) aril_console_terminal.set_window(columns, rows);
}

}  // namespace aril::linux_abi
