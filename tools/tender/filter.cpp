#include "filter.hpp"

#include <linux/audit.h>
#include <linux/seccomp.h>

#include <cstddef>
#include <cstring>

namespace aril::tender {
namespace {

constexpr uint32_t low(uint64_t value) { return static_cast<uint32_t>(value); }
constexpr uint32_t high(uint64_t value) { return static_cast<uint32_t>(value >> 32); }

/// Instructions of one piece, whose failures all lead to its end.
class Piece {
 public:
  void load(size_t offset) {
    add(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset)));
  }
  void load_masked(size_t offset, uint32_t mask) {
    load(offset);
    if (mask != ~0u) add(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask));
  }
  void require_equal(uint32_t value) { require(BPF_JEQ, value, true); }
  void require_at_least(uint32_t value) { require(BPF_JGE, value, true); }
  void require_at_most(uint32_t value) { require(BPF_JGT, value, false); }
  /// Goes on only with equal; skips the next `count` instructions otherwise.
  void unless_equal_skip(uint32_t value, uint8_t count) {
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, count));
  }
  void end(uint32_t result) { add(BPF_STMT(BPF_RET | BPF_K, result)); }

  /// The 64-bit word at `offset` lies within [first, last].
  void require_within(size_t offset, uint64_t first, uint64_t last, uint64_t mask) {
    const size_t high_offset = offset + sizeof(uint32_t);
    load_masked(high_offset, high(mask));
    if (high(first) == high(last)) {
      require_equal(high(first));
      load_masked(offset, low(mask));
      if (low(first) == low(last)) return require_equal(low(first));
      require_at_least(low(first));
      return require_at_most(low(last));
    }
    require_at_least(high(first));
    require_at_most(high(last));
    // A low half decides where the high one is at a bound.
    unless_equal_skip(high(first), 2 + (low(mask) != ~0u ? 1 : 0));
    load_masked(offset, low(mask));
    require_at_least(low(first));
    load_masked(high_offset, high(mask));
    unless_equal_skip(high(last), 2 + (low(mask) != ~0u ? 1 : 0));
    load_masked(offset, low(mask));
    require_at_most(low(last));
  }

  /// Failures lead behind the last instruction, which ends the program when all is well.
  void append_to(std::vector<sock_filter>& program) const {
    for (size_t i = 0; i < code_.size(); ++i) {
      sock_filter instruction = code_[i];
      const auto to_end = static_cast<uint8_t>(code_.size() - i - 1);
      if (instruction.jt == kFail) instruction.jt = to_end;
      if (instruction.jf == kFail) instruction.jf = to_end;
      program.push_back(instruction);
    }
  }

 private:
  static constexpr uint8_t kFail = 255;
  void add(sock_filter instruction) { code_.push_back(instruction); }
  void require(uint16_t comparison, uint32_t value, bool wanted) {
    add(BPF_JUMP(static_cast<uint16_t>(BPF_JMP | comparison | BPF_K), value,
                 static_cast<uint8_t>(wanted ? 0 : kFail),
                 static_cast<uint8_t>(wanted ? kFail : 0)));
  }
  std::vector<sock_filter> code_;
};

constexpr size_t argument_offset(unsigned argument) {
  return offsetof(seccomp_data, args) + argument * sizeof(uint64_t);
}

}  // namespace

std::vector<sock_filter> compile(std::span<const Rule> rules, Gate gate) {
  std::vector<sock_filter> program;
  // Numbers mean other things to other architectures' entries (int 0x80).
  program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)));
  program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
  // Nothing is allowed from elsewhere. The address is that of the instruction behind `syscall`.
  constexpr size_t kPointer = offsetof(seccomp_data, instruction_pointer);
  program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kPointer + sizeof(uint32_t)));
  program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high(gate.start), 0, 3));
  program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kPointer));
  program.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, low(gate.start), 0, 1));
  program.push_back(BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, low(gate.end), 0, 1));
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP));
  for (const Rule& rule : rules) {
    Piece piece;
    piece.load(offsetof(seccomp_data, nr));
    piece.require_equal(rule.number);
    for (const Condition& condition : rule.conditions) {
      piece.require_within(argument_offset(condition.argument), condition.first, condition.last,
                           condition.mask);
    }
    piece.end(SECCOMP_RET_ALLOW);
    piece.append_to(program);
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP));
  return program;
}

uint32_t evaluate(std::span<const sock_filter> program, const Call& call) {
  seccomp_data data{};
  data.nr = static_cast<int>(call.number);
  data.arch = call.architecture;
  data.instruction_pointer = call.instruction_pointer;
  std::memcpy(data.args, call.arguments, sizeof data.args);
  uint32_t accumulator = 0;
  for (size_t at = 0; at < program.size(); ++at) {
    const sock_filter& instruction = program[at];
    const uint32_t k = instruction.k;
    switch (instruction.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        std::memcpy(&accumulator, reinterpret_cast<const char*>(&data) + k, sizeof accumulator);
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        accumulator &= k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += accumulator == k ? instruction.jt : instruction.jf;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        at += accumulator >= k ? instruction.jt : instruction.jf;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        at += accumulator > k ? instruction.jt : instruction.jf;
        break;
      case BPF_RET | BPF_K:
        return k;
      default:
        return SECCOMP_RET_KILL_PROCESS;
    }
  }
  return SECCOMP_RET_KILL_PROCESS;
}

}  // namespace aril::tender
