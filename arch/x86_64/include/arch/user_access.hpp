#pragma once
#include <cstddef>
#include <cstdint>

/// Accesses to application memory that may fault. A fault is first offered to aril_on_page_fault;
/// when that cannot resolve it, the routine ends and says so. The caller has checked that the
/// addresses are in the lower half (kernel/vm/user_copy.hpp does). Thread context, no spin lock
/// held: a fault may sleep.
namespace aril::arch {

/// Copies `size` bytes; either side may be application memory. Returns how many bytes were NOT
/// copied: 0 is success; otherwise exactly the first size - result bytes arrived.
extern "C" size_t aril_raw_copy(void* to, const void* from, size_t size);
/// Zeroes `size` bytes; how many were not.
extern "C" size_t aril_raw_zero(void* to, size_t size);
/// Copies a string with its NUL, at most `size` bytes. Returns its length without the NUL, `size`
/// when no NUL was among that many bytes, or -1 for a fault.
extern "C" int64_t aril_raw_copy_string(char* to, const char* from, size_t size);
/// 4-byte accesses for futexes; false for a fault. The address is 4-byte aligned.
extern "C" bool aril_raw_load_u32(const uint32_t* from, uint32_t* value);
/// Compares *at with *expected and stores `desired` when equal; *expected then holds what was there
/// (so it is unchanged on success). Sequentially consistent.
extern "C" bool aril_raw_compare_exchange_u32(uint32_t* at, uint32_t* expected, uint32_t desired);

inline size_t raw_copy(void* to, const void* from, size_t size) {
  return aril_raw_copy(to, from, size);
}

}  // namespace aril::arch
