#pragma once
#include <cstddef>
#include <cstdint>

#include "linux/abi/signal.hpp"

namespace aril::linux_abi {

/// Numbers below this are served; x86-64 Linux's highest is far below.
inline constexpr size_t kSystemCallLimit = 512;

/// "read"; null when Linux has no such call. Itself null in an image without the table.
[[gnu::weak]] const char* system_call_name(uint64_t number);
/// "ENOENT"; null when there is no such error.
const char* error_name(int number);

}  // namespace aril::linux_abi
