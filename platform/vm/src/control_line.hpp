#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

namespace aril::platform {

// What the host says over COM1 (base/image_abi.hpp), one command a line.
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

/// Starts the thread that obeys the host's commands. After the program has started.
void start_control_line();

}  // namespace aril::platform
