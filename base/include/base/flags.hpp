#pragma once
#include <type_traits>
#include <utility>

/// Gives a scoped enumeration of bits the operators | & ~ |= &= and has(set, bits), which is true
/// when any of `bits` is in `set`. Use it in the enumeration's own namespace.
#define ARIL_FLAG_OPERATORS(Enum)                                                         \
  constexpr Enum operator|(Enum a, Enum b) {                                              \
    return static_cast<Enum>(std::to_underlying(a) | std::to_underlying(b));              \
  }                                                                                       \
  constexpr Enum operator&(Enum a, Enum b) {                                              \
    return static_cast<Enum>(std::to_underlying(a) & std::to_underlying(b));              \
  }                                                                                       \
  constexpr Enum operator~(Enum a) { return static_cast<Enum>(~std::to_underlying(a)); }  \
  constexpr Enum& operator|=(Enum& a, Enum b) { return a = a | b; }                       \
  constexpr Enum& operator&=(Enum& a, Enum b) { return a = a & b; }                       \
  constexpr bool has(Enum set, Enum bits) { return std::to_underlying(set & bits) != 0; } \
  static_assert(std::is_enum_v<Enum>)
