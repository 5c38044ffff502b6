#pragma once
#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/file.hpp"

namespace aril::tool {

/// How a child process is started.
struct ChildOptions {
  /// descriptor in this process, number in the child; all others that are not close-on-exec stay.
  std::vector<std::pair<int, int>> descriptors;
  std::vector<std::string> environment;  ///< NAME=VALUE, added to this process's
};

/// A child process that dies with this one (PDEATHSIG), in a session of its own, so that the
/// terminal's signals do not reach it. The destructor kills and reaps it.
class ChildProcess {
 public:
  /// Starts `arguments[0]`, looked up in PATH. Throws Error when it cannot be executed.
  ChildProcess(const std::vector<std::string>& arguments, const ChildOptions& options);
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;
  ~ChildProcess();

  pid_t pid() const { return pid_; }
  /// Becomes readable when the process has ended.
  int pidfd() const { return pidfd_.get(); }
  void kill(int signal) const;
  /// Reaps it, as waitpid's status; nothing when it still runs after `timeout`.
  std::optional<int> wait(std::optional<std::chrono::milliseconds> timeout = {});

 private:
  pid_t pid_ = -1;
  Descriptor pidfd_;
  std::optional<int> status_;
};

/// What a finished command left.
struct CommandResult {
  int status = 0;  ///< as waitpid's
  std::string output;
  std::string error;
};

/// Runs a command to its end with empty stdin and collects what it writes.
CommandResult run_command(const std::vector<std::string>& arguments,
                          const ChildOptions& options = {});

/// The executable that `name` means to a shell: itself when it has a slash, else the first in PATH
/// and then the system's directories for administration.
std::optional<std::filesystem::path> find_executable(std::string_view name);

/// A line as it would be typed into a shell.
std::string shell_quote(const std::vector<std::string>& arguments);

}  // namespace aril::tool
