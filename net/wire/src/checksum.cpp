#include "net/wire/checksum.hpp"

#include <bit>
#include <cstring>

namespace aril::net {
namespace {

/// One's complement addition: the carry comes round.
template <typename T>
T add_around(T a, T b) {
  T sum = static_cast<T>(a + b);
  return static_cast<T>(sum + (sum < a));
}

uint16_t fold(uint64_t sum) {
  uint32_t half = add_around(static_cast<uint32_t>(sum), static_cast<uint32_t>(sum >> 32));
  return add_around(static_cast<uint16_t>(half), static_cast<uint16_t>(half >> 16));
}

template <typename T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

}  // namespace

// Sums native-order words and swaps the folded result: one's complement addition commutes with byte
// swapping [RFC 1071] 2(B), and a sum of wide words folds to that of their halves.
void Checksum::add(std::span<const std::byte> bytes) {
  const std::byte* data = bytes.data();
  size_t left = bytes.size();
  uint64_t sum = 0;
  for (; left >= 32; left -= 32, data += 32) {
    for (size_t i = 0; i < 4; ++i) sum = add_around(sum, load<uint64_t>(data + 8 * i));
  }
  for (; left >= 8; left -= 8, data += 8) sum = add_around(sum, load<uint64_t>(data));
  if ((left & 4) != 0) {
    sum = add_around(sum, uint64_t{load<uint32_t>(data)});
    data += 4;
  }
  if ((left & 2) != 0) {
    sum = add_around(sum, uint64_t{load<uint16_t>(data)});
    data += 2;
  }
  if ((left & 1) != 0) {
    std::byte last[2] = {*data, std::byte{0}};
    sum = add_around(sum, uint64_t{load<uint16_t>(last)});
  }
  uint16_t folded = fold(sum);
  // A piece at an odd offset contributes its bytes in swapped positions.
  bool swap = (std::endian::native == std::endian::little) != odd_;
  sum_ += swap ? std::byteswap(folded) : folded;
  odd_ ^= (bytes.size() & 1) != 0;
}

void Checksum::add_pseudo_header(IpAddress source, IpAddress destination, uint8_t protocol,
                                 uint32_t length) {
  for (IpAddress address : {source, destination}) {
    if (address.is_v4()) {
      sum_ += (address.v4_value() >> 16) + (address.v4_value() & 0xffff);
    } else {
      for (uint64_t half : {address.high(), address.low()})
        sum_ += (half >> 32) + (half & 0xffffffff);
    }
  }
  sum_ += protocol + (length >> 16) + (length & 0xffff);
}

uint16_t Checksum::partial() const { return fold(sum_); }

}  // namespace aril::net
