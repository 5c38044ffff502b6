#include <fcntl.h>

#include <cstdio>
#include <exception>
#include <format>

#include "command_line/commands.hpp"
#include "support/error.hpp"

namespace {

/// A stream that is closed becomes an empty one: a file that is opened for something else would get
/// its number, and be taken for the stream.
void open_missing_streams() {
  for (int stream = 0; stream < 3; ++stream) {
    // The lowest free descriptor: this very number.
    if (fcntl(stream, F_GETFD) < 0) (void)!open("/dev/null", stream == 0 ? O_RDONLY : O_WRONLY);
  }
}

}  // namespace

int main(int argument_count, char** arguments) {
  using aril::tool::Error;
  using aril::tool::ExitStatus;
  open_missing_streams();
  try {
    return aril::tool::run_command_line(argument_count, arguments);
  } catch (const Error& error) {
    std::fputs(std::format("aril: {}\n", error.what()).c_str(), stderr);
    if (!error.hint().empty()) {
      std::fputs(std::format("aril: hint: {}\n", error.hint()).c_str(), stderr);
    }
    return static_cast<int>(error.status());
  } catch (const std::exception& error) {
    std::fputs(std::format("aril: {}\n", error.what()).c_str(), stderr);
    return static_cast<int>(ExitStatus::kFailure);
  }
}
