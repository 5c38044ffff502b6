#pragma once
#include "command_line/options.hpp"
#include "manifest/manifest.hpp"

namespace aril::tool {

/// Runs a program as one confined process of this host (docs/process-platform.md): this very
/// process becomes the tender. Returns only for --dry-run, with the status; throws Error.
int run_as_process(const RunOptions& options, const Manifest& manifest);

}  // namespace aril::tool
