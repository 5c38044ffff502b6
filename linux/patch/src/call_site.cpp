#include "linux/patch/call_site.hpp"

#include <algorithm>
#include <cstring>

#include "linux/patch/instruction_length.hpp"

namespace aril::linux_abi {
namespace {

constexpr size_t kShortMov = 5, kLongMov = 7;
/// Decoding that starts at a wrong byte finds the true boundaries again within a few instructions;
/// nearer starts prove nothing.
constexpr size_t kSynchronisation = 24;
/// Fewer witnesses than this are no proof.
constexpr unsigned kWitnesses = 4;

uint64_t immediate_of(const uint8_t* mov, size_t size) {
  if (size == CallSite::kShortSize) return 0;
  int32_t value;
  std::memcpy(&value, mov + size - sizeof value, sizeof value);
  // The short form zero-extends, the long one sign-extends.
  return size == kShortMov ? uint64_t{static_cast<uint32_t>(value)}
                           : static_cast<uint64_t>(int64_t{value});
}

std::optional<size_t> mov_before(std::span<const uint8_t> before) {
  constexpr uint8_t kLongOpcode[] = {0x48, 0xc7, 0xc0};
  const uint8_t* end = before.data() + before.size();
  if (before.size() >= kLongMov && std::memcmp(end - kLongMov, kLongOpcode, 3) == 0)
    return kLongMov;
  if (before.size() >= kShortMov && end[-static_cast<ptrdiff_t>(kShortMov)] == 0xb8)
    return kShortMov;
  if (before.size() >= 2 && (end[-2] == 0x31 || end[-2] == 0x33) && end[-1] == 0xc0)
    return CallSite::kShortSize;
  return std::nullopt;
}

// Behind it the next instruction is reached by a jump only.
bool ends_flow(uint8_t opcode) {
  return opcode == 0xc3 || opcode == 0xe9 || opcode == 0xeb || opcode == 0xcc;
}

// [SDM 2B] NOP: 0f 1f /0, with prefixes that make it longer.
bool is_long_no_op(std::span<const uint8_t> code) {
  size_t at = 0;
  while (at < code.size() && (code[at] == 0x66 || code[at] == 0x2e)) ++at;
  return at + 1 < code.size() && code[at] == 0x0f && code[at + 1] == 0x1f;
}

enum class Walk : uint8_t { kArrives, kPasses, kLost };

// Follows instructions from `start` on until `target` is reached or stepped over.
Walk walk(std::span<const uint8_t> code, size_t start, size_t target) {
  while (start < target) {
    auto length = instruction_length(code.subspan(start));
    if (!length) return Walk::kLost;
    start += *length;
  }
  return start == target ? Walk::kArrives : Walk::kPasses;
}

bool is_instruction_boundary(std::span<const uint8_t> code, size_t target) {
  if (target < kSynchronisation) return false;
  unsigned witnesses = 0;
  for (size_t start = 0; start <= target - kSynchronisation; ++start) {
    switch (walk(code, start, target)) {
      case Walk::kArrives:
        ++witnesses;
        break;
      case Walk::kPasses:
        return false;
      case Walk::kLost:
        break;
    }
  }
  return witnesses >= kWitnesses;
}

}  // namespace

std::optional<CallSite> find_call_site(std::span<const uint8_t> before, uint64_t number) {
  auto size = mov_before(before);
  if (!size) return std::nullopt;
  const uint8_t* mov = before.data() + before.size() - *size;
  if (immediate_of(mov, *size) != number) return std::nullopt;
  if (!is_instruction_boundary(before, before.size() - *size)) return std::nullopt;
  return CallSite{.mov_size = static_cast<unsigned>(*size)};
}

std::optional<Padding> find_padding(std::span<const uint8_t> after) {
  bool is_reached = true;
  for (size_t at = 0; at < after.size();) {
    auto length = instruction_length(after.subspan(at));
    if (!length) return std::nullopt;
    auto instruction = after.subspan(at, *length);
    if (!is_reached && *length >= kJumpSize && is_long_no_op(instruction))
      return Padding{at, *length};
    is_reached = !ends_flow(instruction[0]);
    at += *length;
  }
  return std::nullopt;
}

std::optional<std::array<uint8_t, CallSite::kShortSize>> short_jump_bytes(uint64_t site,
                                                                          uint64_t target) {
  uint64_t distance = target - (site + CallSite::kShortSize);
  if (distance > 127) return std::nullopt;
  return std::array<uint8_t, CallSite::kShortSize>{0xeb, static_cast<uint8_t>(distance)};
}

std::optional<std::array<uint8_t, kJumpSize>> jump_bytes(uint64_t site, uint64_t target) {
  auto distance = static_cast<int64_t>(target - (site + kJumpSize));
  auto near = static_cast<int32_t>(distance);
  if (near != distance) return std::nullopt;
  std::array<uint8_t, kJumpSize> bytes{0xe9};
  std::memcpy(&bytes[1], &near, sizeof near);
  return bytes;
}

std::array<uint8_t, kStubSize> make_stub(std::span<const uint8_t> mov, uint64_t stub_address,
                                         uint64_t return_address, uint64_t entry_pointer) {
  std::array<uint8_t, kStubSize> stub;
  stub.fill(0xcc);
  size_t at = 0;
  auto put = [&](const void* bytes, size_t count) {
    std::memcpy(&stub[at], bytes, count);
    at += count;
  };
  put(mov.data(), mov.size());
  constexpr uint8_t kLoadRcx[] = {0x48, 0xb9};  // movabs $return_address, %rcx
  put(kLoadRcx, sizeof kLoadRcx);
  put(&return_address, sizeof return_address);
  constexpr uint8_t kJumpIndirect[] = {0xff, 0x25};  // jmp *entry_pointer(%rip)
  put(kJumpIndirect, sizeof kJumpIndirect);
  auto distance = static_cast<int32_t>(entry_pointer - (stub_address + at + sizeof(int32_t)));
  put(&distance, sizeof distance);
  return stub;
}

}  // namespace aril::linux_abi
