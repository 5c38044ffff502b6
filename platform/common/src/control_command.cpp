#include <charconv>

#include "platform/common/control_line.hpp"

namespace aril::platform {
namespace {

std::string_view take_word(std::string_view& line) {
  size_t length = std::min(line.find(' '), line.size());
  std::string_view word = line.substr(0, length);
  line.remove_prefix(std::min(length + 1, line.size()));
  return word;
}

template <typename T>
bool take_number(std::string_view& line, T& out) {
  std::string_view word = take_word(line);
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), out);
  return error == std::errc{} && end == word.data() + word.size() && !word.empty();
}

}  // namespace

std::optional<ControlCommand> parse_control_command(std::string_view line) {
  constexpr int kHighestSignal = 64;
  std::string_view name = take_word(line);
  if (name == "signal") {
    SignalCommand command{};
    if (take_number(line, command.number) && line.empty() && command.number >= 1 &&
        command.number <= kHighestSignal)
      return command;
  } else if (name == "eof") {
    EndOfInputCommand command{};
    if (take_number(line, command.count) && line.empty()) return command;
  } else if (name == "winsize") {
    WindowCommand command{};
    if (take_number(line, command.columns) && take_number(line, command.rows) && line.empty())
      return command;
  }
  return std::nullopt;
}

}  // namespace aril::platform
