#pragma once
#include <string>

#include "command_line/options.hpp"

namespace aril::tool {

/// Each command returns aril's exit status, or throws Error.
int run_command_line(int argument_count, char** arguments);

int run(const RunOptions& options);
int build(const BuildOptions& options);
int inspect(const InspectOptions& options);
int list_components(const ComponentsOptions& options);
int symbolize(const SymbolizeOptions& options);

/// A completion script for bash, zsh or fish, made from the options themselves.
std::string completion_script(const CLI::App& app, const std::string& shell);

}  // namespace aril::tool
