#pragma once
#include <termios.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace aril::tool {

/// The terminal that aril was started on, if stdin is one and this process is in its foreground:
/// while the object lives it is in raw mode, for the guest has a line discipline of its own.
class RawTerminal {
 public:
  /// Does nothing unless `wanted`: the guest does not heed what a terminal types then.
  explicit RawTerminal(bool wanted);
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal();

  bool active() const { return saved_.has_value(); }

 private:
  std::optional<termios> saved_;
};

/// What the kernel's command line says of the terminal: which of stdin, stdout and stderr are one
/// (tty=), and its size (winsize=). Empty when none is.
std::vector<std::string> terminal_words();

/// Columns and rows of the terminal on any of the three; nothing when there is none.
std::optional<std::pair<unsigned, unsigned>> terminal_size();

/// Whether stdin is a terminal that belongs to other processes now: reading would stop this one.
bool stdin_is_in_background();

}  // namespace aril::tool
