#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace aril::arch {

/// Unit tests read and write "application" memory directly: it is the test process's own.
inline size_t raw_copy(void* to, const void* from, size_t count) {
  std::memcpy(to, from, count);
  return 0;
}

}  // namespace aril::arch
