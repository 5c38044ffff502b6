#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include "kernel/io/devices.hpp"

namespace aril::platform {

// What the host says (base/image_abi.hpp), one command a line.
struct SignalCommand {
  int number;
};
struct EndOfInputCommand {
  uint64_t count;
};
struct WindowCommand {
  uint16_t columns, rows;
};
using ControlCommand = std::variant<SignalCommand, EndOfInputCommand, WindowCommand>;

/// Nothing for a line that is no command.
std::optional<ControlCommand> parse_control_command(std::string_view line);

/// Starts the thread that obeys the host's commands, which come over `line`. After the program has
/// started. `line` lives for ever.
void start_control_line(CharDevice& line);

}  // namespace aril::platform
