#include "base/packet_filter.hpp"

#include <algorithm>
#include <new>

namespace aril {
namespace {

// [linux/bpf_common.h]
enum Class : uint16_t { kLd, kLdx, kSt, kStx, kAlu, kJmp, kRet, kMisc };
enum Mode : uint16_t {
  kImmediate = 0,
  kAbsolute = 0x20,
  kIndirect = 0x40,
  kMemory = 0x60,
  kLength = 0x80,
  kHeaderLength = 0xa0,  // BPF_MSH: four times the low half of a byte
};
constexpr uint16_t kSizeMask = 0x18, kHalf = 8, kByte = 0x10;
enum Alu : uint16_t {
  kAdd = 0,
  kSubtract = 0x10,
  kMultiply = 0x20,
  kDivide = 0x30,
  kOr = 0x40,
  kAnd = 0x50,
  kShiftLeft = 0x60,
  kShiftRight = 0x70,
  kNegate = 0x80,
  kModulo = 0x90,
  kXor = 0xa0,
};
enum Jump : uint16_t {
  kAlways = 0,
  kEqual = 0x10,
  kGreater = 0x20,
  kGreaterEqual = 0x30,
  kBitSet = 0x40,
};
constexpr uint16_t kSourceX = 8, kReturnA = 0x10, kTax = 0, kTxa = 0x80;
constexpr size_t kWords = 16;  // BPF_MEMWORDS

constexpr uint16_t operation_of(uint16_t code) { return code & 0xf0; }

constexpr uint16_t mode_of(uint16_t code) { return code & 0xe0; }

constexpr unsigned size_of(uint16_t code) {
  switch (code & kSizeMask) {
    case 0:
      return 4;
    case kHalf:
      return 2;
    case kByte:
      return 1;
    default:
      return 0;
  }
}

struct Rules {
  PacketFilter::Dialect dialect;
  uint32_t structure_size;
  [[nodiscard]] bool is_socket() const { return dialect == PacketFilter::Dialect::kSocket; }
};

bool is_load(const FilterInstruction& instruction, const Rules& rules) {
  uint16_t code = instruction.code;
  bool into_a = (code & 7) == kLd;
  unsigned size = size_of(code);
  switch (mode_of(code)) {
    case kAbsolute:
      if (!into_a || size == 0) return false;
      return rules.is_socket() ||
             (size == 4 && instruction.k % 4 == 0 && instruction.k < rules.structure_size);
    case kIndirect:
      return into_a && size != 0 && rules.is_socket();
    case kHeaderLength:
      return !into_a && size == 1 && rules.is_socket();
    case kImmediate:
    case kLength:
      return size == 4;
    case kMemory:
      return size == 4 && instruction.k < kWords;
    default:
      return false;
  }
}

bool is_arithmetic(const FilterInstruction& instruction, const Rules& rules) {
  bool by_x = (instruction.code & kSourceX) != 0;
  switch (operation_of(instruction.code)) {
    case kAdd:
    case kSubtract:
    case kMultiply:
    case kOr:
    case kAnd:
    case kXor:
      return true;
    case kNegate:
      return !by_x;
    case kDivide:
      return by_x || instruction.k != 0;
    case kModulo:
      return rules.is_socket() && (by_x || instruction.k != 0);
    case kShiftLeft:
    case kShiftRight:
      return by_x || instruction.k < 32;
    default:
      return false;
  }
}

bool is_jump(const FilterInstruction& instruction, size_t left) {
  // `left` instructions follow this one.
  switch (operation_of(instruction.code)) {
    case kAlways:
      return (instruction.code & kSourceX) == 0 && instruction.k < left;
    case kEqual:
    case kGreater:
    case kGreaterEqual:
    case kBitSet:
      return instruction.jump_true < left && instruction.jump_false < left;
    default:
      return false;
  }
}

bool is_allowed(const FilterInstruction& instruction, size_t left, const Rules& rules) {
  uint16_t code = instruction.code;
  if (code > 0xff) return false;
  switch (code & 7) {
    case kLd:
    case kLdx:
      return is_load(instruction, rules);
    case kSt:
    case kStx:
      return (code & ~7) == 0 && instruction.k < kWords;
    case kAlu:
      return is_arithmetic(instruction, rules);
    case kJmp:
      return is_jump(instruction, left);
    case kRet:
      return (code & ~7) == 0 || (code & ~7) == kReturnA;
    default:
      return (code & ~7) == kTax || (code & ~7) == kTxa;
  }
}

uint32_t arithmetic(uint16_t operation, uint32_t a, uint32_t b, bool& is_defined) {
  switch (operation) {
    case kAdd:
      return a + b;
    case kSubtract:
      return a - b;
    case kMultiply:
      return a * b;
    case kDivide:
      is_defined = b != 0;
      return is_defined ? a / b : 0;
    case kModulo:
      is_defined = b != 0;
      return is_defined ? a % b : 0;
    case kOr:
      return a | b;
    case kAnd:
      return a & b;
    case kShiftLeft:
      return b < 32 ? a << b : 0;
    case kShiftRight:
      return b < 32 ? a >> b : 0;
    case kNegate:
      return -a;
    default:
      return a ^ b;
  }
}

bool compare(uint16_t operation, uint32_t a, uint32_t b) {
  switch (operation) {
    case kEqual:
      return a == b;
    case kGreater:
      return a > b;
    case kGreaterEqual:
      return a >= b;
    default:
      return (a & b) != 0;
  }
}

}  // namespace

Result<PacketFilter> PacketFilter::create(std::span<const FilterInstruction> program,
                                          Dialect dialect, uint32_t structure_size) {
  const Rules rules{dialect, structure_size};
  if (program.empty() || program.size() > kMaxLength) return fail(Errno::kInval);
  for (size_t i = 0; i < program.size(); ++i)
    if (!is_allowed(program[i], program.size() - i - 1, rules)) return fail(Errno::kInval);
  if ((program.back().code & 7) != kRet) return fail(Errno::kInval);
  PacketFilter filter;
  filter.program_.reset(new (std::nothrow) FilterInstruction[program.size()]);
  if (filter.program_ == nullptr) return fail(Errno::kNoMem);
  std::ranges::copy(program, filter.program_.get());
  filter.length_ = program.size();
  return filter;
}

namespace {

bool load(const FilterInput& input, const FilterInstruction& instruction, uint32_t x,
          const uint32_t (&memory)[kWords], uint32_t& value) {
  switch (mode_of(instruction.code)) {
    case kAbsolute:
      return input.load(instruction.k, size_of(instruction.code), value);
    case kIndirect:
      // Wraps as Linux's: what lies outside is not there.
      return input.load(instruction.k + x, size_of(instruction.code), value);
    case kHeaderLength:
      if (!input.load(instruction.k, 1, value)) return false;
      value = (value & 0xf) * 4;
      return true;
    case kMemory:
      value = memory[instruction.k];
      return true;
    case kLength:
      value = input.length();
      return true;
    default:
      value = instruction.k;
      return true;
  }
}

}  // namespace

uint32_t PacketFilter::run(const FilterInput& input) const {
  uint32_t a = 0, x = 0;
  uint32_t memory[kWords] = {};
  for (size_t at = 0;; ++at) {
    const FilterInstruction& instruction = program_[at];
    uint16_t code = instruction.code;
    uint32_t operand = (code & kSourceX) != 0 ? x : instruction.k;
    switch (code & 7) {
      case kLd:
      case kLdx: {
        uint32_t value = 0;
        if (!load(input, instruction, x, memory, value)) return 0;
        ((code & 7) == kLd ? a : x) = value;
        break;
      }
      case kSt:
        memory[instruction.k] = a;
        break;
      case kStx:
        memory[instruction.k] = x;
        break;
      case kAlu: {
        bool is_defined = true;
        a = arithmetic(operation_of(code), a, operand, is_defined);
        if (!is_defined) return 0;  // as a return of 0: the strictest verdict
        break;
      }
      case kJmp:
        if (operation_of(code) == kAlways) {
          at += instruction.k;
        } else {
          at += compare(operation_of(code), a, operand) ? instruction.jump_true
                                                        : instruction.jump_false;
        }
        break;
      case kRet:
        return (code & kReturnA) != 0 ? a : instruction.k;
      default:
        if ((code & ~7) == kTax) {
          x = a;
        } else {
          a = x;
        }
        break;
    }
  }
}

}  // namespace aril
