#pragma once
#include <cstdint>
#include <vector>

#include "manifest/manifest.hpp"

namespace aril::tool {

/// Throws Error naming the first port that somebody has already, or that may not be taken.
void check_ports(const std::vector<PortForward>& ports);

/// A TCP port of 127.0.0.1 that is free now: `preferred` if possible.
uint16_t free_port(uint16_t preferred);

}  // namespace aril::tool
