#pragma once
#include <vector>

#include "manifest/manifest.hpp"
#include "support/file.hpp"

namespace aril::tool {

/// Starts passt(1), which connects a machine to this host's network without any rights, with the
/// same addresses as QEMU's user network has, and these ports led into it. Its end of the socket
/// that carries frames; it ends when that is closed. Throws Error when it is not installed.
Descriptor start_passt(const std::vector<PortForward>& ports);

}  // namespace aril::tool
