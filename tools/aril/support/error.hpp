#pragma once
#include <format>
#include <stdexcept>
#include <string>
#include <string_view>

namespace aril::tool {

/// Exit statuses of `aril` itself; those of the program pass through unchanged. The numbers are
/// those that container tools use for the same conditions.
enum class ExitStatus : int {
  kUsage = 2,            ///< wrong options or arguments
  kFailure = 125,        ///< aril or the machine failed
  kNotExecutable = 126,  ///< the program cannot run here: a script, another architecture, damaged
  kNotFound = 127,       ///< there is no such program
};

/// What stops `aril`: one line that says what is wrong with which value, and a hint on what to do.
/// Thrown where the failure is seen, printed once, in main.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, std::string hint = {},
                 ExitStatus status = ExitStatus::kFailure)
      : std::runtime_error(message), hint_(std::move(hint)), status_(status) {}

  const std::string& hint() const { return hint_; }
  ExitStatus status() const { return status_; }

 private:
  std::string hint_;
  ExitStatus status_;
};

/// Throws Error with `message` and the text of `error_number`.
[[noreturn]] void fail_with_errno(const std::string& message, int error_number);

/// Runs `action`; an Error that leaves it gets `context` and ": " before its message.
template <class Action>
auto with_context(std::string_view context, Action action) {
  try {
    return action();
  } catch (const Error& error) {
    throw Error(std::format("{}: {}", context, error.what()), error.hint(), error.status());
  }
}

}  // namespace aril::tool
