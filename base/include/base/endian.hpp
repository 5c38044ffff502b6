#pragma once
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>

namespace aril {

/// An integer stored in a fixed byte order, with alignment 1: the field type of wire formats and
/// on-disk structures. Converts implicitly both ways.
template <std::integral T, std::endian kOrder>
class Endian {
 public:
  constexpr Endian() = default;
  constexpr Endian(T value) { *this = value; }
  constexpr Endian& operator=(T value) {
    if constexpr (kOrder != std::endian::native) value = std::byteswap(value);
    bytes_ = std::bit_cast<Bytes>(value);
    return *this;
  }
  constexpr operator T() const { return get(); }
  [[nodiscard]] constexpr T get() const {
    T value = std::bit_cast<T>(bytes_);
    return kOrder != std::endian::native ? std::byteswap(value) : value;
  }

 private:
  struct Bytes {
    std::byte data[sizeof(T)];
  };
  Bytes bytes_{};
};

template <std::integral T>
using Be = Endian<T, std::endian::big>;
template <std::integral T>
using Le = Endian<T, std::endian::little>;

static_assert(sizeof(Be<uint32_t>) == 4 && alignof(Be<uint32_t>) == 1);

}  // namespace aril
