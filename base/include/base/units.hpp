#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>

namespace aril {

inline constexpr size_t kKiB = 1024;
inline constexpr size_t kMiB = 1024 * kKiB;
inline constexpr size_t kGiB = 1024 * kMiB;

inline constexpr size_t kPageShift = 12;
inline constexpr size_t kPageSize = size_t{1} << kPageShift;

/// `alignment` is a power of two. align_up wraps on overflow: callers bound `value` first.
template <std::unsigned_integral T>
constexpr T align_down(T value, size_t alignment) {
  return value & ~static_cast<T>(alignment - 1);
}
template <std::unsigned_integral T>
constexpr T align_up(T value, size_t alignment) {
  return align_down(static_cast<T>(value + (alignment - 1)), alignment);
}
template <std::unsigned_integral T>
constexpr bool is_aligned(T value, size_t alignment) {
  return (value & (alignment - 1)) == 0;
}

}  // namespace aril
