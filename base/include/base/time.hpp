#pragma once
#include <compare>
#include <cstdint>
#include <limits>

namespace aril {

/// A signed span of time. Arithmetic saturates at ±292 years, so "forever" stays forever.
struct Duration {
  int64_t ns = 0;

  static constexpr Duration nanoseconds(int64_t value) { return {value}; }
  static constexpr Duration microseconds(int64_t value) { return {scale(value, 1'000)}; }
  static constexpr Duration milliseconds(int64_t value) { return {scale(value, 1'000'000)}; }
  static constexpr Duration seconds(int64_t value) { return {scale(value, 1'000'000'000)}; }
  static constexpr Duration infinite() { return {std::numeric_limits<int64_t>::max()}; }

  constexpr auto operator<=>(const Duration&) const = default;
  friend constexpr Duration operator+(Duration a, Duration b) { return {add(a.ns, b.ns)}; }
  friend constexpr Duration operator-(Duration a, Duration b) { return {add(a.ns, negate(b.ns))}; }
  friend constexpr Duration operator*(Duration a, int64_t b) { return {scale(a.ns, b)}; }
  friend constexpr Duration operator/(Duration a, int64_t b) { return {a.ns / b}; }

 private:
  friend struct Instant;
  static constexpr int64_t negate(int64_t value) {
    return value == std::numeric_limits<int64_t>::min() ? std::numeric_limits<int64_t>::max()
                                                        : -value;
  }
  static constexpr int64_t add(int64_t a, int64_t b) {
    int64_t sum;
    if (!__builtin_add_overflow(a, b, &sum)) return sum;
    return a > 0 ? std::numeric_limits<int64_t>::max() : std::numeric_limits<int64_t>::min();
  }
  static constexpr int64_t scale(int64_t a, int64_t b) {
    int64_t product;
    if (!__builtin_mul_overflow(a, b, &product)) return product;
    return (a > 0) == (b > 0) ? std::numeric_limits<int64_t>::max()
                              : std::numeric_limits<int64_t>::min();
  }
};

/// A point on the monotonic clock: nanoseconds since boot. `never()` is later than every other.
struct Instant {
  int64_t ns = 0;

  static constexpr Instant never() { return {std::numeric_limits<int64_t>::max()}; }
  constexpr auto operator<=>(const Instant&) const = default;
  friend constexpr Instant operator+(Instant a, Duration b) { return {Duration::add(a.ns, b.ns)}; }
  friend constexpr Instant operator-(Instant a, Duration b) {
    return {Duration::add(a.ns, Duration::negate(b.ns))};
  }
  friend constexpr Duration operator-(Instant a, Instant b) {
    return {Duration::add(a.ns, Duration::negate(b.ns))};
  }
};

}  // namespace aril
