#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace aril::tool {

/// The first line of a script: "#!interpreter [argument]" [execve(2)].
struct ScriptLine {
  std::string interpreter;
  std::string argument;
};
/// nullopt when the file is none.
std::optional<ScriptLine> read_script_line(const std::filesystem::path& file);

/// What a program on this host needs to be executed, itself the first: the interpreters that
/// scripts name, and the program that /usr/bin/env is to find. The last one is no script.
/// Throws Error when an interpreter is not on this host.
std::vector<std::filesystem::path> programs_to_execute(const std::filesystem::path& program);

}  // namespace aril::tool
