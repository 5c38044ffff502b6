#pragma once
#include <string>

#include "base/process_abi.hpp"

namespace aril::tender {

/// Maps the kernel where it is linked; what its note says of it.
ProcessKernel load_kernel(const std::string& path);

}  // namespace aril::tender
