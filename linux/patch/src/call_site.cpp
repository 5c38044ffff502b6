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
constexpr std::ptrdiff_t kWitnesses = 4;

/// An instruction that loads a register with a constant, and can stand anywhere.
struct ConstantLoad {
  size_t size;
  /// What it loads into EAX; nullopt when it loads another register.
  std::optional<uint64_t> number;
};

/// The forms that the last bytes of `before` have, the longest first [SDM 2B MOV, XOR].
class ConstantLoads {
 public:
  explicit ConstantLoads(std::span<const uint8_t> before) : before_(before) {
    if (is_long_mov()) add({kLongMov, static_cast<uint64_t>(int64_t{immediate()})});
    if (is_mov_at(kShortMov) && before.size() > kShortMov && from_end(kShortMov + 1) == kRexB)
      add({kShortMov + 1, std::nullopt});
    if (is_mov_at(kShortMov)) {
      bool is_eax = from_end(kShortMov) == kMovToEax;
      add({kShortMov,
           is_eax ? std::optional<uint64_t>(static_cast<uint32_t>(immediate())) : std::nullopt});
    }
    if (is_zeroing()) {
      bool is_eax = from_end(1) == kEaxWithItself;
      add({CallSite::kShortSize, is_eax ? std::optional<uint64_t>(0) : std::nullopt});
    }
  }
  [[nodiscard]] std::span<const ConstantLoad> all() const {
    return std::span(loads_).first(count_);
  }

 private:
  static constexpr uint8_t kMovToEax = 0xb8, kRexB = 0x41, kEaxWithItself = 0xc0;

  [[nodiscard]] uint8_t from_end(size_t distance) const {
    return before_[before_.size() - distance];
  }
  [[nodiscard]] int32_t immediate() const {
    int32_t value;
    std::memcpy(&value, before_.data() + before_.size() - sizeof value, sizeof value);
    return value;
  }
  [[nodiscard]] bool is_long_mov() const {
    return before_.size() >= kLongMov && from_end(kLongMov) == 0x48 &&
           from_end(kLongMov - 1) == 0xc7 && from_end(kLongMov - 2) == 0xc0;
  }
  [[nodiscard]] bool is_mov_at(size_t distance) const {
    return before_.size() >= distance && (from_end(distance) & 0xf8) == kMovToEax;
  }
  // xor of a register with itself.
  [[nodiscard]] bool is_zeroing() const {
    if (before_.size() < CallSite::kShortSize || (from_end(2) != 0x31 && from_end(2) != 0x33))
      return false;
    uint8_t operands = from_end(1);
    return operands >= 0xc0 && (operands >> 3 & 7) == (operands & 7);
  }
  void add(ConstantLoad load) { loads_[count_++] = load; }

  std::span<const uint8_t> before_;
  std::array<ConstantLoad, 4> loads_;
  size_t count_ = 0;
};

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

/// Where instructions that are followed from some byte on come to.
enum class Walk : uint8_t { kArrives, kPasses, kLost };

bool is_instruction_boundary(std::span<const uint8_t> code, size_t target) {
  if (target < kSynchronisation) return false;
  // From the last start to the first: what follows an instruction is known already.
  std::array<Walk, kCallSiteWindow + 1> walks;
  walks[target] = Walk::kArrives;
  for (size_t start = target; start-- > 0;) {
    auto length = instruction_length(code.subspan(start));
    if (!length) {
      walks[start] = Walk::kLost;
    } else {
      walks[start] = *length > target - start ? Walk::kPasses : walks[start + *length];
    }
  }
  std::span starts(walks.data(), target - kSynchronisation + 1);
  return std::ranges::find(starts, Walk::kPasses) == starts.end() &&
         std::ranges::count(starts, Walk::kArrives) >= kWitnesses;
}

}  // namespace

std::optional<CallSite> find_call_site(std::span<const uint8_t> before, uint64_t number) {
  before = before.last(std::min(before.size(), kCallSiteWindow));
  for (const ConstantLoad& load : ConstantLoads(before).all()) {
    if (load.number.value_or(number) == number &&
        is_instruction_boundary(before, before.size() - load.size))
      return CallSite{.mov_size = static_cast<unsigned>(load.size)};
  }
  return std::nullopt;
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
