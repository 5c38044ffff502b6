#include "linux/patch/instruction_length.hpp"

namespace aril::linux_abi {
namespace {

constexpr unsigned kMaximumLength = 15;

/// What follows an opcode.
struct Operands {
  bool valid = true;
  bool modrm = false;
  unsigned immediate = 0;
};
constexpr Operands kInvalid{.valid = false};

constexpr Operands plain(unsigned immediate = 0) { return {.immediate = immediate}; }
constexpr Operands with_modrm(unsigned immediate = 0) {
  return {.modrm = true, .immediate = immediate};
}

struct Prefixes {
  bool operand_size = false;  // 66
  bool address_size = false;  // 67
  bool wide = false;          // REX.W
  /// An immediate of the operand's size, at most four bytes.
  [[nodiscard]] unsigned immediate_z() const { return operand_size && !wide ? 2 : 4; }
};

Operands arithmetic_row(uint8_t opcode, const Prefixes& prefixes) {
  unsigned column = opcode & 7;
  if (column < 4) return with_modrm();
  if (column == 4) return plain(1);
  if (column == 5) return plain(prefixes.immediate_z());
  return kInvalid;  // segment pushes and decimal adjustments: not in 64-bit mode
}

// [SDM 2D A.3, table A-2].
Operands one_byte_opcode(uint8_t opcode, uint8_t modrm, const Prefixes& prefixes) {
  if (opcode < 0x40) return arithmetic_row(opcode, prefixes);
  if (opcode < 0x60) return plain();
  if (opcode >= 0x70 && opcode < 0x80) return plain(1);
  if (opcode >= 0x84 && opcode < 0x90) return with_modrm();
  if (opcode >= 0xb0 && opcode < 0xb8) return plain(1);
  if (opcode >= 0xb8 && opcode < 0xc0) return plain(prefixes.wide ? 8 : prefixes.immediate_z());
  if (opcode >= 0xd8 && opcode < 0xe0) return with_modrm();
  unsigned reg = (modrm >> 3) & 7;
  switch (opcode) {
    case 0x63:
      return with_modrm();
    case 0x68:
      return plain(prefixes.immediate_z());
    case 0x69:
      return with_modrm(prefixes.immediate_z());
    case 0x6a:
      return plain(1);
    case 0x6b:
      return with_modrm(1);
    case 0x6c:
    case 0x6d:
    case 0x6e:
    case 0x6f:
      return plain();
    case 0x80:
    case 0x83:
      return with_modrm(1);
    case 0x81:
      return with_modrm(prefixes.immediate_z());
    case 0x90:
    case 0x91:
    case 0x92:
    case 0x93:
    case 0x94:
    case 0x95:
    case 0x96:
    case 0x97:
    case 0x98:
    case 0x99:
    case 0x9b:
    case 0x9c:
    case 0x9d:
    case 0x9e:
    case 0x9f:
      return plain();
    case 0xa0:
    case 0xa1:
    case 0xa2:
    case 0xa3:
      return plain(prefixes.address_size ? 4 : 8);
    case 0xa8:
      return plain(1);
    case 0xa9:
      return plain(prefixes.immediate_z());
    case 0xa4:
    case 0xa5:
    case 0xa6:
    case 0xa7:
    case 0xaa:
    case 0xab:
    case 0xac:
    case 0xad:
    case 0xae:
    case 0xaf:
      return plain();
    case 0xc0:
    case 0xc1:
    case 0xc6:
      return with_modrm(1);
    case 0xc7:
      return with_modrm(prefixes.immediate_z());
    case 0xc2:
    case 0xca:
      return plain(2);
    case 0xc3:
    case 0xc9:
    case 0xcb:
    case 0xcc:
    case 0xcf:
      return plain();
    case 0xc8:
      return plain(3);
    case 0xcd:
      return plain(1);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
      return with_modrm();
    case 0xd7:
      return plain();
    case 0xe0:
    case 0xe1:
    case 0xe2:
    case 0xe3:
    case 0xe4:
    case 0xe5:
    case 0xe6:
    case 0xe7:
    case 0xeb:
      return plain(1);
    case 0xe8:
    case 0xe9:
      return plain(4);  // always 32 bits in 64-bit mode
    case 0xec:
    case 0xed:
    case 0xee:
    case 0xef:
      return plain();
    case 0xf1:
    case 0xf4:
    case 0xf5:
      return plain();
    case 0xf6:
      return with_modrm(reg < 2 ? 1 : 0);
    case 0xf7:
      return with_modrm(reg < 2 ? prefixes.immediate_z() : 0);
    case 0xf8:
    case 0xf9:
    case 0xfa:
    case 0xfb:
    case 0xfc:
    case 0xfd:
      return plain();
    case 0xfe:
      return reg < 2 ? with_modrm() : kInvalid;
    case 0xff:
      return reg < 7 ? with_modrm() : kInvalid;
    default:
      return kInvalid;
  }
}

// [SDM 2D A.3, table A-3].
Operands two_byte_opcode(uint8_t opcode) {
  if (opcode >= 0x80 && opcode < 0x90) return plain(4);
  if (opcode >= 0x30 && opcode < 0x38) return opcode == 0x36 ? kInvalid : plain();
  if (opcode >= 0xc8 && opcode < 0xd0) return plain();
  switch (opcode) {
    case 0x04:
    case 0x0a:
    case 0x0c:
    case 0x24:
    case 0x25:
    case 0x26:
    case 0x27:
    case 0x39:
    case 0x3b:
    case 0x3c:
    case 0x3d:
    case 0x3e:
    case 0x3f:
    case 0xa6:
    case 0xa7:
      return kInvalid;
    case 0x05:
    case 0x06:
    case 0x07:
    case 0x08:
    case 0x09:
    case 0x0b:
    case 0x0e:
    case 0x77:
    case 0xa0:
    case 0xa1:
    case 0xa2:
    case 0xa8:
    case 0xa9:
    case 0xaa:
      return plain();
    case 0x0f:
    case 0x70:
    case 0x71:
    case 0x72:
    case 0x73:
    case 0xa4:
    case 0xac:
    case 0xba:
    case 0xc2:
    case 0xc4:
    case 0xc5:
    case 0xc6:
      return with_modrm(1);
    default:
      return with_modrm();
  }
}

// Opcodes behind VEX and EVEX prefixes, by their map [SDM 2A 2.3.6, 2.7].
Operands vector_opcode(unsigned map, uint8_t opcode) {
  switch (map) {
    case 1: {
      if (opcode == 0x77) return plain();
      bool has_immediate =
          (opcode >= 0x70 && opcode < 0x74) || opcode == 0xc2 || (opcode >= 0xc4 && opcode < 0xc7);
      return with_modrm(has_immediate ? 1 : 0);
    }
    case 2:
    case 5:
    case 6:
      return with_modrm();
    case 3:
      return with_modrm(1);
    default:
      return kInvalid;
  }
}

/// Reads bytes of one instruction; running out of them makes it invalid.
class Decoder {
 public:
  explicit Decoder(std::span<const uint8_t> code) : code_(code) {}

  std::optional<unsigned> decode() {
    read_prefixes();
    Operands operands = read_opcode();
    if (!operands.valid) return std::nullopt;
    if (operands.modrm) skip_modrm();
    position_ += operands.immediate;
    if (overrun_ || position_ > code_.size() || position_ > kMaximumLength) return std::nullopt;
    return position_;
  }

 private:
  [[nodiscard]] uint8_t peek(unsigned ahead = 0) const {
    return position_ + ahead < code_.size() ? code_[position_ + ahead] : 0;
  }
  uint8_t next() {
    if (position_ >= code_.size()) overrun_ = true;
    uint8_t byte = peek();
    ++position_;
    return byte;
  }

  void read_prefixes() {
    for (; position_ < kMaximumLength; ++position_) {
      switch (peek()) {
        case 0x66:
          prefixes_.operand_size = true;
          break;
        case 0x67:
          prefixes_.address_size = true;
          break;
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
        case 0x64:
        case 0x65:
        case 0xf0:
        case 0xf2:
        case 0xf3:
          break;
        default:
          // Only a REX directly before the opcode counts.
          if ((peek() & 0xf0) == 0x40) {
            prefixes_.wide = (peek() & 8) != 0;
            ++position_;
          }
          return;
      }
    }
  }

  Operands read_opcode() {
    uint8_t opcode = next();
    switch (opcode) {
      case 0x0f:
        return read_escaped();
      case 0xc5: {  // two-byte VEX: map 1
        next();
        return vector_opcode(1, next());
      }
      case 0xc4: {
        unsigned map = next() & 0x1f;
        next();
        return vector_opcode(map, next());
      }
      case 0x62: {
        unsigned map = next() & 7;
        next();
        next();
        return vector_opcode(map, next());
      }
      default:
        return one_byte_opcode(opcode, peek(), prefixes_);
    }
  }

  Operands read_escaped() {
    uint8_t opcode = next();
    if (opcode == 0x38) {
      next();
      return with_modrm();
    }
    if (opcode == 0x3a) {
      next();
      return with_modrm(1);
    }
    return two_byte_opcode(opcode);
  }

  // [SDM 2A 2.1.5, tables 2-2 and 2-3].
  void skip_modrm() {
    uint8_t modrm = next();
    unsigned mode = modrm >> 6, rm = modrm & 7;
    if (mode == 3) return;
    bool absolute = mode == 0 && rm == 5;
    if (rm == 4) {
      uint8_t sib = next();
      if (mode == 0 && (sib & 7) == 5) absolute = true;
    }
    if (mode == 1) position_ += 1;
    if (mode == 2 || absolute) position_ += 4;
  }

  std::span<const uint8_t> code_;
  unsigned position_ = 0;
  bool overrun_ = false;
  Prefixes prefixes_;
};

}  // namespace

std::optional<unsigned> instruction_length(std::span<const uint8_t> code) {
  return Decoder(code).decode();
}

}  // namespace aril::linux_abi
