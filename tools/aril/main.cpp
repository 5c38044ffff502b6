#include <cstdio>
#include <exception>
#include <format>

#include "command_line/commands.hpp"
#include "support/error.hpp"

int main(int argument_count, char** arguments) {
  using aril::tool::Error;
  using aril::tool::ExitStatus;
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
