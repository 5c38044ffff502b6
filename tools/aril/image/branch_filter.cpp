#include "image/branch_filter.hpp"

#include <bit>
#include <cstdint>
#include <cstring>

namespace aril::tool {

namespace {

/// Bytes of the opcode of a near branch at `at`, 0 when there is none.
size_t branch_opcode(std::span<const std::byte> code, size_t at) {
  constexpr std::byte kCall{0xe8}, kJump{0xe9}, kTwoBytes{0x0f}, kConditional{0x80};
  if (code[at] == kCall || code[at] == kJump) return 1;
  const bool conditional =
      code[at] == kTwoBytes && (code[at + 1] & std::byte{0xf0}) == kConditional;
  return conditional ? 2 : 0;
}

int32_t load(std::span<const std::byte> code, size_t at) {
  int32_t value = 0;
  std::memcpy(&value, code.data() + at, sizeof value);
  return value;
}
void store(std::span<std::byte> code, size_t at, int32_t value) {
  std::memcpy(code.data() + at, &value, sizeof value);
}

/// Calls convert(at) for the place of each displacement.
template <class Convert>
void for_each_branch(std::span<std::byte> code, const Convert& convert) {
  constexpr size_t kLongest = 6;
  for (size_t i = 0; i + kLongest <= code.size();) {
    const size_t opcode = branch_opcode(code, i);
    if (opcode == 0) {
      ++i;
      continue;
    }
    convert(i + opcode);
    i += opcode + sizeof(int32_t);
  }
}

}  // namespace

// Displacements in [-at, size) become targets in the same range: those whose branch stays within
// the image lie in [0, size), the others take the values that are left. All others stay, but for
// the order of their bytes, so that each value comes from one only.
void filter_branches(std::span<std::byte> code) {
  const auto size = static_cast<int32_t>(code.size());
  for_each_branch(code, [&](size_t where) {
    const auto at = static_cast<int32_t>(where);
    const int32_t displacement = load(code, where);
    int32_t target = displacement;
    if (displacement >= -at && displacement < size) {
      target = displacement < size - at ? displacement + at : displacement - size;
    }
    store(code, where, std::byteswap(target));
  });
}

void unfilter_branches(std::span<std::byte> code) {
  const auto size = static_cast<int32_t>(code.size());
  for_each_branch(code, [&](size_t where) {
    const auto at = static_cast<int32_t>(where);
    const int32_t target = std::byteswap(load(code, where));
    int32_t displacement = target;
    if (target >= -at && target < size) displacement = target >= 0 ? target - at : target + size;
    store(code, where, displacement);
  });
}

}  // namespace aril::tool
