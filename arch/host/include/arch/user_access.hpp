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

inline size_t aril_raw_zero(void* to, size_t size) {
  std::memset(to, 0, size);
  return 0;
}
inline int64_t aril_raw_copy_string(char* to, const char* from, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    if ((to[i] = from[i]) == 0) return static_cast<int64_t>(i);
  }
  return static_cast<int64_t>(size);
}
inline bool aril_raw_load_u32(const uint32_t* from, uint32_t* value) {
  *value = __atomic_load_n(from, __ATOMIC_RELAXED);
  return true;
}
inline bool aril_raw_compare_exchange_u32(uint32_t* at, uint32_t* expected, uint32_t desired) {
  __atomic_compare_exchange_n(at, expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  return true;
}

}  // namespace aril::arch
