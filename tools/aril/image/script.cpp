#include "image/script.hpp"

#include <algorithm>
#include <format>

#include "support/error.hpp"
#include "support/file.hpp"
#include "support/process.hpp"
#include "support/text.hpp"

namespace aril::tool {

namespace fs = std::filesystem;

namespace {

constexpr size_t kLineLimit = 256;  // Linux's BINPRM_BUF_SIZE
constexpr size_t kNestingLimit = 5;

/// What env(1) runs: the first word that is neither an option nor a variable.
std::optional<fs::path> program_of_env(const ScriptLine& line) {
  if (fs::path(line.interpreter).filename() != "env") return std::nullopt;
  for (const std::string& word : split(line.argument, ' ')) {
    if (!word.empty() && !word.starts_with('-') && !word.contains('=')) {
      return find_executable(word);
    }
  }
  return std::nullopt;
}

[[noreturn]] void fail_missing_interpreter(const fs::path& script, const ScriptLine& line) {
  std::string printable;
  for (const char c : line.interpreter) printable += (c >= 0x20 && c < 0x7f) ? c : '?';
  throw Error(std::format("{}: is a script for {}", script.string(),
                          printable.empty() ? "no interpreter" : printable),
              "install its interpreter, or name another one in its first line",
              ExitStatus::kNotExecutable);
}

}  // namespace

std::optional<ScriptLine> read_script_line(const fs::path& file) {
  const std::string start = read_prefix(file, kLineLimit);
  if (!start.starts_with("#!")) return std::nullopt;
  const std::string text(trim(std::string_view(start).substr(2, start.find('\n') - 2)));
  const size_t blank = std::min(text.find_first_of(" \t"), text.size());
  return ScriptLine{text.substr(0, blank), std::string(trim(text.substr(blank)))};
}

std::vector<fs::path> programs_to_execute(const fs::path& program) {
  std::vector<fs::path> programs = {program};
  while (const auto line = read_script_line(programs.back())) {
    const fs::path script = programs.back();
    std::error_code ignored;
    const fs::path interpreter = line->interpreter;
    if (!interpreter.is_absolute() || !fs::is_regular_file(interpreter, ignored)) {
      fail_missing_interpreter(script, *line);
    }
    if (programs.size() == kNestingLimit) {
      throw Error(std::format("{}: too many nested scripts", program.string()), {},
                  ExitStatus::kNotExecutable);
    }
    programs.push_back(interpreter);
    if (const auto found = program_of_env(*line)) programs.push_back(*found);
  }
  return programs;
}

}  // namespace aril::tool
