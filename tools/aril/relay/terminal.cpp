#include "relay/terminal.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <format>

namespace aril::tool {

bool stdin_is_in_background() {
  return isatty(STDIN_FILENO) != 0 && tcgetpgrp(STDIN_FILENO) != getpgrp();
}

RawTerminal::RawTerminal(bool wanted) {
  termios settings = {};
  if (!wanted || isatty(STDIN_FILENO) == 0 || stdin_is_in_background() ||
      tcgetattr(STDIN_FILENO, &settings) != 0) {
    return;
  }
  saved_ = settings;
  cfmakeraw(&settings);
  tcsetattr(STDIN_FILENO, TCSANOW, &settings);
}

RawTerminal::~RawTerminal() {
  if (saved_) tcsetattr(STDIN_FILENO, TCSANOW, &*saved_);
}

std::optional<std::pair<unsigned, unsigned>> terminal_size() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    winsize size = {};
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col != 0) {
      return std::pair<unsigned, unsigned>(size.ws_col, size.ws_row);
    }
  }
  return std::nullopt;
}

std::vector<std::string> terminal_words() {
  std::string streams;
  if (isatty(STDIN_FILENO) != 0) streams += 'i';
  if (isatty(STDOUT_FILENO) != 0) streams += 'o';
  if (isatty(STDERR_FILENO) != 0) streams += 'e';
  if (streams.empty()) return {};
  std::vector<std::string> words = {"tty=" + streams};
  if (const auto size = terminal_size()) {
    words.push_back(std::format("winsize={}x{}", size->first, size->second));
  }
  return words;
}

}  // namespace aril::tool
