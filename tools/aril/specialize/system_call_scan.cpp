#include "specialize/system_call_scan.hpp"

#include <capstone/capstone.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <string_view>

#include "elf/elf_file.hpp"
#include "support/error.hpp"

namespace aril::tool {

namespace {

constexpr uint32_t kSocket = 41, kSocketPair = 53, kSetSocketOption = 54, kFcntl = 72;
constexpr uint64_t kNumberLimit = 512;
/// How many calls are followed outwards, how far back within a function, and how many callers.
constexpr int kMaximumDepth = 5;
constexpr size_t kMaximumSteps = 4000;
constexpr uint64_t kAllBits = ~uint64_t{0};
constexpr size_t kMaximumCallers = 400;
/// Of a jump with a displacement of 32 bits.
constexpr uint64_t kJumpSize = 5;

/// The 64-bit register that a register is part of.
x86_reg whole(x86_reg part) {
  struct Parts {
    x86_reg whole;
    std::array<x86_reg, 3> parts;
  };
  static constexpr Parts kRegisters[] = {
      {X86_REG_RAX, {X86_REG_EAX, X86_REG_AX, X86_REG_AL}},
      {X86_REG_RBX, {X86_REG_EBX, X86_REG_BX, X86_REG_BL}},
      {X86_REG_RCX, {X86_REG_ECX, X86_REG_CX, X86_REG_CL}},
      {X86_REG_RDX, {X86_REG_EDX, X86_REG_DX, X86_REG_DL}},
      {X86_REG_RSI, {X86_REG_ESI, X86_REG_SI, X86_REG_SIL}},
      {X86_REG_RDI, {X86_REG_EDI, X86_REG_DI, X86_REG_DIL}},
      {X86_REG_RBP, {X86_REG_EBP, X86_REG_BP, X86_REG_BPL}},
      {X86_REG_R8, {X86_REG_R8D, X86_REG_R8W, X86_REG_R8B}},
      {X86_REG_R9, {X86_REG_R9D, X86_REG_R9W, X86_REG_R9B}},
      {X86_REG_R10, {X86_REG_R10D, X86_REG_R10W, X86_REG_R10B}},
      {X86_REG_R11, {X86_REG_R11D, X86_REG_R11W, X86_REG_R11B}},
      {X86_REG_R12, {X86_REG_R12D, X86_REG_R12W, X86_REG_R12B}},
      {X86_REG_R13, {X86_REG_R13D, X86_REG_R13W, X86_REG_R13B}},
      {X86_REG_R14, {X86_REG_R14D, X86_REG_R14W, X86_REG_R14B}},
      {X86_REG_R15, {X86_REG_R15D, X86_REG_R15W, X86_REG_R15B}},
  };
  for (const Parts& entry : kRegisters) {
    if (std::ranges::contains(entry.parts, part)) return entry.whole;
  }
  return part;
}

bool is_argument(x86_reg reg) {
  static constexpr x86_reg kArguments[] = {X86_REG_RDI, X86_REG_RSI, X86_REG_RDX,
                                           X86_REG_RCX, X86_REG_R8,  X86_REG_R9};
  return std::ranges::contains(kArguments, reg);
}

bool is_caller_saved(x86_reg reg) {
  static constexpr x86_reg kSaved[] = {X86_REG_RBX, X86_REG_RBP, X86_REG_R12,
                                       X86_REG_R13, X86_REG_R14, X86_REG_R15};
  return !std::ranges::contains(kSaved, reg);
}

/// The values of a register at one place.
struct Values {
  std::set<uint64_t> known;
  bool complete = true;
};

class Disassembler {
 public:
  Disassembler() {
    if (cs_open(CS_ARCH_X86, CS_MODE_64, &handle_) != CS_ERR_OK) {
      throw Error("the disassembler cannot be started");
    }
    instruction_ = cs_malloc(handle_);
  }
  ~Disassembler() {
    cs_free(instruction_, 1);
    cs_close(&handle_);
  }
  Disassembler(const Disassembler&) = delete;
  Disassembler& operator=(const Disassembler&) = delete;

  /// The instruction at the beginning of `bytes`, which stays until the next call; null when that
  /// is none.
  const cs_insn* decode(std::span<const std::byte> bytes, uint64_t address) {
    const auto* code = reinterpret_cast<const uint8_t*>(bytes.data());  // capstone's idea of bytes
    size_t size = bytes.size();
    return cs_disasm_iter(handle_, &code, &size, &address, instruction_) ? instruction_ : nullptr;
  }
  /// From now on with operands and registers, which takes three times as long.
  void want_detail() {
    cs_option(handle_, CS_OPT_DETAIL, CS_OPT_ON);
    cs_free(instruction_, 1);
    instruction_ = cs_malloc(handle_);  // has room for them only when they are wanted
  }
  csh handle() const { return handle_; }

 private:
  csh handle_ = 0;
  cs_insn* instruction_ = nullptr;
};

enum class Kind : uint8_t { kOther, kCall, kJump, kSystemCall };

struct Instruction {
  uint64_t address = 0;
  uint8_t size = 0;
  Kind kind = Kind::kOther;
};

/// The code of one file: where its instructions begin, and who calls whom.
class Code {
 public:
  Code(std::span<const std::byte> file, const ElfFile& elf) {
    for (const ElfSegment& segment : elf.segments) {
      if ((segment.flags & PF_X) == 0) continue;
      if (const auto bytes = slice(file, segment.offset, segment.file_size)) {
        sweep(*bytes, segment.address);
      }
    }
    entries_.insert(elf.entry);
    std::ranges::sort(instructions_, {}, &Instruction::address);
    disassembler_.want_detail();
  }

  std::vector<size_t> system_calls() const {
    std::vector<size_t> found;
    for (size_t i = 0; i < instructions_.size(); ++i) {
      if (instructions_[i].kind == Kind::kSystemCall) found.push_back(i);
    }
    return found;
  }
  uint64_t address(size_t index) const { return instructions_[index].address; }
  bool changes_gs() const { return changes_gs_; }

  /// SystemCallSite::movable_from of the instruction at `index`.
  uint64_t movable_from(size_t index) {
    const uint64_t end = instructions_[index].address;
    for (size_t first = index; first != 0;) {
      // Only what stands first may be the target of a branch.
      if (first != index && is_target(instructions_[first].address)) return 0;
      const Instruction& before = instructions_[--first];
      if (before.address + before.size != instructions_[first + 1].address) return 0;
      if (!is_movable(first)) return 0;
      if (end - before.address < kJumpSize) continue;
      const bool is_alone = first + 1 == index;
      return is_alone || !has_hidden_branches(before.address) ? before.address : 0;
    }
    return 0;
  }

  /// What `reg` holds before the instruction at `index`: the definitions that reach it, over every
  /// path backwards. Only `significant` bits of the values count.
  Values values(size_t index, x86_reg reg, uint64_t significant = kAllBits, int depth = 0) {
    Values result;
    std::set<std::pair<size_t, x86_reg>> seen;
    std::vector<std::pair<size_t, x86_reg>> pending = {{index, reg}};
    while (!pending.empty()) {
      const auto [at, wanted] = pending.back();
      pending.pop_back();
      if (!seen.emplace(at, wanted).second) continue;
      if (seen.size() > kMaximumSteps) return {.complete = false};
      bool reached = false;
      const auto [first, last] = jumps_.equal_range(instructions_[at].address);
      for (auto jump = first; jump != last; ++jump) {
        const auto source = index_of(jump->second);
        if (!source) continue;
        reached = true;
        if (const auto value = value_when_equal(*source, X86_INS_JE, wanted)) {
          result.known.insert(*value);
        } else {
          pending.emplace_back(*source, wanted);  // a jump changes no register
        }
      }
      const bool falls_in = at != 0 && instructions_[at - 1].kind != Kind::kJump;
      if (entries_.contains(instructions_[at].address) || (!falls_in && !reached)) {
        if (is_argument(wanted)) {
          add_callers(instructions_[at].address, wanted, significant, depth, result);
        } else {
          result.complete = false;
        }
      } else if (const auto value =
                     falls_in ? value_when_equal(at - 1, X86_INS_JNE, wanted) : std::nullopt) {
        result.known.insert(*value);
      } else if (falls_in) {
        step_back(at - 1, wanted, significant, pending, result);
      }
    }
    return result;
  }

 private:
  void sweep(std::span<const std::byte> bytes, uint64_t address) {
    size_t offset = 0;
    while (offset < bytes.size()) {
      const cs_insn* decoded = disassembler_.decode(bytes.subspan(offset), address + offset);
      if (decoded == nullptr) {
        ++offset;  // data between functions
        continue;
      }
      note(*decoded);
      offset += decoded->size;
    }
    regions_.push_back({address, bytes});
  }

  void note(const cs_insn& decoded) {
    Instruction instruction = {decoded.address, static_cast<uint8_t>(decoded.size)};
    const uint8_t* code = decoded.bytes;
    const auto relative = [&](size_t opcode_size) {
      int32_t distance = 0;
      std::memcpy(&distance, code + opcode_size, sizeof distance);
      return decoded.address + decoded.size + static_cast<uint64_t>(int64_t{distance});
    };
    switch (decoded.id) {
      case X86_INS_SYSCALL:
        instruction.kind = Kind::kSystemCall;
        break;
      case X86_INS_CALL:
        instruction.kind = Kind::kCall;
        if (code[0] == 0xe8) {
          entries_.insert(relative(1));
          callers_.emplace(relative(1), decoded.address);
        }
        break;
      case X86_INS_WRGSBASE:
        changes_gs_ = true;
        break;
      case X86_INS_JMP:
        instruction.kind = Kind::kJump;
        if (code[0] != 0xe9 && code[0] != 0xeb) indirect_jumps_.insert(decoded.address);
        if (code[0] == 0xe9) jumps_.emplace(relative(1), decoded.address);
        if (code[0] == 0xeb) note_short_jump(decoded);
        break;
      case X86_INS_RET:
      case X86_INS_HLT:
      case X86_INS_UD2:
        instruction.kind = Kind::kJump;
        break;
      default:
        if (code[0] >= 0x70 && code[0] <= 0x7f && decoded.size == 2) note_short_jump(decoded);
        if (code[0] == 0x0f && code[1] >= 0x80 && code[1] <= 0x8f && decoded.size == 6) {
          jumps_.emplace(relative(2), decoded.address);
        }
        break;
    }
    instructions_.push_back(instruction);
  }
  void note_short_jump(const cs_insn& decoded) {
    const auto distance = static_cast<int8_t>(decoded.bytes[1]);
    jumps_.emplace(decoded.address + decoded.size + static_cast<uint64_t>(int64_t{distance}),
                   decoded.address);
  }

  const cs_insn* decode(size_t index) {
    const Instruction& instruction = instructions_[index];
    for (const auto& [start, bytes] : regions_) {
      if (instruction.address - start >= bytes.size()) continue;
      return disassembler_.decode(bytes.subspan(instruction.address - start, instruction.size),
                                  instruction.address);
    }
    return nullptr;
  }

  bool is_target(uint64_t address) const {
    return jumps_.contains(address) || entries_.contains(address);
  }

  /// Whether the function around `address` has jumps of which nobody knows where they go.
  bool has_hidden_branches(uint64_t address) const {
    const auto next = entries_.upper_bound(address);
    const uint64_t begin = next == entries_.begin() ? 0 : *std::prev(next);
    const auto jump = indirect_jumps_.lower_bound(begin);
    return jump != indirect_jumps_.end() && (next == entries_.end() || *jump < *next);
  }

  /// Moves and the like, none of which is relative to where it stands.
  bool is_movable(size_t index) {
    if (instructions_[index].kind != Kind::kOther) return false;
    const cs_insn* decoded = decode(index);
    if (decoded == nullptr) return false;
    static constexpr unsigned kMovable[] = {X86_INS_MOV, X86_INS_MOVABS, X86_INS_MOVSXD,
                                            X86_INS_XOR, X86_INS_LEA,    X86_INS_MOVZX};
    const cs_x86& detail = decoded->detail->x86;
    return std::ranges::contains(kMovable, decoded->id) &&
           std::ranges::none_of(
               std::span(detail.operands, detail.op_count), [](const cs_x86_op& operand) {
                 return operand.type == X86_OP_MEM && operand.mem.base == X86_REG_RIP;
               });
  }

  bool writes(const cs_insn& decoded, x86_reg reg) const {
    cs_regs read = {}, written = {};
    uint8_t read_count = 0, written_count = 0;
    if (cs_regs_access(disassembler_.handle(), &decoded, read, &read_count, written,
                       &written_count) != CS_ERR_OK) {
      return true;
    }
    return std::ranges::any_of(std::span(written).first(written_count), [&](uint16_t one) {
      return whole(static_cast<x86_reg>(one)) == reg;
    });
  }

  std::optional<size_t> index_of(uint64_t address) const {
    const auto found = std::ranges::lower_bound(instructions_, address, {}, &Instruction::address);
    if (found == instructions_.end() || found->address != address) return std::nullopt;
    return static_cast<size_t>(found - instructions_.begin());
  }

  /// What `reg` is known to hold on that side of the conditional jump at `index` on which a
  /// comparison right before it has found it equal to a constant: JE when it jumps, JNE when it
  /// does not.
  std::optional<uint64_t> value_when_equal(size_t index, x86_insn jump, x86_reg reg) {
    if (index == 0 || is_target(instructions_[index].address)) return std::nullopt;
    const cs_insn* decoded = decode(index);
    if (decoded == nullptr || decoded->id != static_cast<unsigned>(jump)) return std::nullopt;
    decoded = decode(index - 1);
    if (decoded == nullptr) return std::nullopt;
    const cs_x86_op* operands = decoded->detail->x86.operands;
    if (operands[0].type != X86_OP_REG || whole(operands[0].reg) != reg || operands[0].size < 4)
      return std::nullopt;
    if (decoded->id == X86_INS_TEST && operands[1].type == X86_OP_REG &&
        operands[1].reg == operands[0].reg) {
      return 0;
    }
    if (decoded->id == X86_INS_CMP && operands[1].type == X86_OP_IMM)
      return static_cast<uint64_t>(operands[1].imm);
    return std::nullopt;
  }

  /// Over the instruction at `index`: what it makes of `reg` is a value, or another register to
  /// be followed, or unknown.
  void step_back(size_t index, x86_reg reg, uint64_t significant,
                 std::vector<std::pair<size_t, x86_reg>>& pending, Values& result) {
    const Kind kind = instructions_[index].kind;
    const bool lost = (kind == Kind::kCall && is_caller_saved(reg)) ||
                      (kind == Kind::kSystemCall &&
                       (reg == X86_REG_RAX || reg == X86_REG_RCX || reg == X86_REG_R11));
    const cs_insn* decoded = lost ? nullptr : decode(index);
    if (decoded == nullptr) {
      result.complete = false;
      return;
    }
    if (kind == Kind::kCall || kind == Kind::kSystemCall || !writes(*decoded, reg)) {
      pending.emplace_back(index, reg);
      return;
    }
    const cs_x86& detail = decoded->detail->x86;
    const bool is_move = decoded->id == X86_INS_MOV || decoded->id == X86_INS_MOVABS ||
                         decoded->id == X86_INS_MOVSXD || decoded->id == X86_INS_MOVZX;
    const bool clears = (decoded->id == X86_INS_XOR || decoded->id == X86_INS_SUB) &&
                        detail.operands[1].type == X86_OP_REG &&
                        detail.operands[0].reg == detail.operands[1].reg;
    const bool has_constant = detail.operands[1].type == X86_OP_IMM;
    const uint64_t constant = has_constant ? static_cast<uint64_t>(detail.operands[1].imm) : 0;
    const bool keeps =
        has_constant && ((decoded->id == X86_INS_AND && (~constant & significant) == 0) ||
                         (decoded->id == X86_INS_OR && (constant & significant) == 0));
    if (keeps) {
      pending.emplace_back(index, reg);
    } else if (clears) {
      result.known.insert(0);
    } else if (is_move && detail.operands[1].type == X86_OP_IMM) {
      result.known.insert(static_cast<uint64_t>(detail.operands[1].imm));
    } else if (is_move && detail.operands[1].type == X86_OP_REG) {
      pending.emplace_back(index, whole(detail.operands[1].reg));
    } else {
      result.complete = false;
    }
  }

  /// Over all direct calls of a function.
  void add_callers(uint64_t function, x86_reg reg, uint64_t significant, int depth,
                   Values& result) {
    const auto [first, last] = callers_.equal_range(function);
    if (first == last || depth == kMaximumDepth) result.complete = false;
    size_t count = 0;
    for (auto call = first; call != last && depth < kMaximumDepth; ++call) {
      const auto index = index_of(call->second);
      if (!index || ++count > kMaximumCallers) {
        result.complete = false;
        return;
      }
      const Values more = values(*index, reg, significant, depth + 1);
      result.known.insert(more.known.begin(), more.known.end());
      result.complete &= more.complete;
    }
  }

  Disassembler disassembler_;
  std::vector<std::pair<uint64_t, std::span<const std::byte>>> regions_;
  std::vector<Instruction> instructions_;
  std::multimap<uint64_t, uint64_t> callers_;
  std::multimap<uint64_t, uint64_t> jumps_;
  std::set<uint64_t> entries_;
  std::set<uint64_t> indirect_jumps_;
  bool changes_gs_ = false;
};

std::set<std::string> paths_in(std::span<const std::byte> file) {
  // bytes are bytes: searched as text
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  std::set<std::string> found;
  for (const char* path : {"/proc", "/sys", "/dev", "/dev/shm", "/dev/pt"}) {
    for (size_t at = text.find(path); at != std::string_view::npos; at = text.find(path, at + 1)) {
      const char next = at + std::strlen(path) < text.size() ? text[at + std::strlen(path)] : '\0';
      const bool begins = at == 0 || text[at - 1] == '\0';
      // Every C library has this one, for a start without standard descriptors.
      constexpr std::string_view kNull("/dev/null\0", 10);
      if (text.substr(at).starts_with(kNull)) continue;
      const bool is_prefix = std::string_view(path) == "/dev/pt";  // ptmx, pts
      if (begins && (next == '/' || next == '\0' || is_prefix)) found.insert(path);
    }
  }
  return found;
}

/// Adds what the register can hold at a `syscall` instruction.
void add_values(Code& code, size_t index, x86_reg reg, ArgumentValues& all) {
  const Values values = code.values(index, reg);
  if (!values.complete) all.reset();
  for (const uint64_t value : values.known) {
    if (all) all->insert(static_cast<uint32_t>(value));
  }
}

/// Whether what a socket(2) is called with may be a raw socket or one for ICMP.
bool may_make_raw_socket(Code& code, size_t index) {
  constexpr uint64_t kTypeBits = 0xf, kDatagram = 2, kRaw = 3, kUdp = 17;
  const Values types = code.values(index, X86_REG_RSI, kTypeBits);
  const auto is = [&](uint64_t wanted) {
    return std::ranges::any_of(types.known,
                               [&](uint64_t type) { return (type & kTypeBits) == wanted; });
  };
  if (!types.complete || is(kRaw)) return true;
  if (!is(kDatagram)) return false;
  const Values protocols = code.values(index, X86_REG_RDX);
  return !protocols.complete || std::ranges::any_of(protocols.known, [](uint64_t protocol) {
    return protocol != 0 && protocol != kUdp;
  });
}

}  // namespace

SystemCallScan scan_system_calls(std::span<const std::byte> file) {
  const ElfFile elf = parse_elf(file);
  SystemCallScan scan;
  scan.paths = paths_in(file);
  Code code(file, elf);
  for (const size_t index : code.system_calls()) {
    SystemCallSite site = {.address = code.address(index)};
    const Values numbers = code.values(index, X86_REG_RAX);
    site.complete = numbers.complete;
    site.movable_from = code.movable_from(index);
    for (const uint64_t number : numbers.known) {
      const auto value = static_cast<uint32_t>(number);
      if (value < kNumberLimit) site.numbers.insert(value);
    }
    if (site.numbers.empty()) ++scan.unresolved;
    scan.numbers.insert(site.numbers.begin(), site.numbers.end());
    if (site.numbers.contains(kSocket) || site.numbers.contains(kSocketPair)) {
      add_values(code, index, X86_REG_RDI, scan.socket_families);
    }
    if (site.numbers.contains(kFcntl)) add_values(code, index, X86_REG_RSI, scan.fcntl_commands);
    if (site.numbers.contains(kSetSocketOption)) {
      add_values(code, index, X86_REG_RSI, scan.option_levels);
      add_values(code, index, X86_REG_RDX, scan.option_names);
    }
    if (site.numbers.contains(kSocket)) {
      scan.may_make_raw_sockets |= may_make_raw_socket(code, index);
    }
    scan.sites.push_back(std::move(site));
  }
  scan.changes_gs = code.changes_gs();
  return scan;
}

}  // namespace aril::tool
