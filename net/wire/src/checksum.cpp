#include "net/wire/checksum.hpp"

#include <bit>
#include <cstring>

namespace aril::net {
namespace {

uint32_t fold(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint32_t>((sum & 0xffff) + (sum >> 16));
}

template <typename T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

}  // namespace

// Sums native-order words and swaps the folded result: one's complement addition commutes with byte
// swapping [RFC 1071] 2(B). 32-bit words in a 64-bit accumulator cannot overflow below 16 GiB.
void Checksum::add(std::span<const std::byte> bytes) {
  const std::byte* data = bytes.data();
  size_t left = bytes.size();
  uint64_t a = 0, b = 0;
  for (; left >= 16; left -= 16, data += 16) {
    auto first = load<uint64_t>(data), second = load<uint64_t>(data + 8);
    a += (first & 0xffffffff) + (first >> 32);
    b += (second & 0xffffffff) + (second >> 32);
  }
  for (; left >= 2; left -= 2, data += 2) a += load<uint16_t>(data);
  if (left != 0) {
    std::byte last[2] = {*data, std::byte{0}};
    a += load<uint16_t>(last);
  }
  auto sum = static_cast<uint16_t>(fold(a + b));
  // A piece at an odd offset contributes its bytes in swapped positions.
  bool swap = (std::endian::native == std::endian::little) != odd_;
  sum_ += swap ? std::byteswap(sum) : sum;
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

uint16_t Checksum::partial() const { return static_cast<uint16_t>(fold(sum_)); }

}  // namespace aril::net
