#pragma once
#include <stdint.h>  // not <cstdint>: the program that unpacks images is built without a library

/// How a packed image stands in front of the compressor: x86-64 code taken apart into the fields of
/// its instructions, each kind of field in a stream of its own, because bytes of one kind resemble
/// each other and not their neighbours in the code. tools/aril/image/code_split.cpp takes it apart,
/// platform/vm/unpack puts it together again; both walk the code with for_one_instruction(), so
/// that they cannot disagree. What is no code, or of an instruction that is not known here, only
/// compresses worse.
namespace aril::code_fields {

/// In the order in which they stand. Opcodes come first: they are the most, and what has been used
/// of the first stream makes room for the code that is put together (SplitMemory::gap).
enum Stream : uint32_t {
  kOpcodes,  ///< with prefixes and ModRM
  kShortJumps,
  kShortImmediates,
  kStackDisplacements,  ///< of one byte, behind a SIB: mostly of the stack pointer
  kShortDisplacements,
  kScales,  ///< SIB
  kOthers,
  kImmediates,     ///< of four bytes, most significant first, as all that follow
  kDisplacements,  ///< of four bytes
  kJumps,          ///< targets
  kCalls,
  kStreams,
};

/// A part of the image: bytes as they are, then code, then zeroes.
struct Region {
  uint32_t raw, code, zeroes;
  uint32_t streams[kStreams];  ///< sizes, for the code
};
constexpr uint32_t kMostRegions = 16;

/// What is compressed begins with this; behind it for each region the raw bytes and the streams.
struct Header {
  Region regions[kMostRegions];
};

/// What follows an opcode. The first four are what follows second ones.
enum Kind : uint8_t {
  kNothing,
  kModRm,
  kModRmByte,
  kJump,
  kModRmWord,  ///< four bytes, or two with the operand-size prefix
  kByte,
  kWord,
  kTwoBytes,
  kShortJump,
  kCall,
  kAddress,    ///< eight bytes
  kWordOrTwo,  ///< eight with REX.W
  kTestByte,   ///< ModRM, and an immediate when its middle field is 0 or 1
  kTestWord,
  kPrefix,
};

/// [SDM 2D] table A-2.
constexpr Kind kind_of(uint8_t opcode) {
  if (opcode < 0x40) {
    switch (opcode & 7) {
      case 4:
        return kByte;
      case 5:
        return kWord;
      case 6:
        return (opcode & 0x20) != 0 ? kPrefix : kNothing;
      case 7:
        return kNothing;
      default:
        return kModRm;
    }
  }
  if (opcode < 0x50) return kPrefix;  // REX
  if (opcode < 0x60) return kNothing;
  switch (opcode) {
    case 0x64:
    case 0x65:
    case 0x66:
    case 0x67:
    case 0xf0:
    case 0xf2:
    case 0xf3:
      return kPrefix;
    case 0x63:
      return kModRm;
    case 0x68:
    case 0xa9:
      return kWord;
    case 0x69:
    case 0x81:
    case 0xc7:
      return kModRmWord;
    case 0x6a:
    case 0xa8:
    case 0xcd:
      return kByte;
    case 0x6b:
    case 0x80:
    case 0x83:
    case 0xc0:
    case 0xc1:
    case 0xc6:
      return kModRmByte;
    case 0xc2:
    case 0xca:
      return kTwoBytes;
    case 0xe8:
      return kCall;
    case 0xe9:
      return kJump;
    case 0xeb:
      return kShortJump;
    case 0xf6:
      return kTestByte;
    case 0xf7:
      return kTestWord;
    case 0xfe:
    case 0xff:
      return kModRm;
    default:
      break;
  }
  if (opcode >= 0x70 && opcode < 0x80) return kShortJump;
  if (opcode >= 0x84 && opcode < 0x90) return kModRm;
  if (opcode >= 0xa0 && opcode < 0xa4) return kAddress;
  if (opcode >= 0xb0 && opcode < 0xb8) return kByte;
  if (opcode >= 0xb8 && opcode < 0xc0) return kWordOrTwo;
  if ((opcode >= 0xd0 && opcode < 0xd4) || (opcode >= 0xd8 && opcode < 0xe0)) return kModRm;
  if (opcode >= 0xe0 && opcode < 0xe4) return kShortJump;
  if (opcode >= 0xe4 && opcode < 0xe8) return kByte;
  return kNothing;
}

/// [SDM 2D] table A-3, behind 0x0f.
constexpr Kind second_kind_of(uint8_t opcode) {
  if ((opcode & 0xf0) == 0x80) return kJump;
  if (opcode < 0x10) return opcode < 4 || opcode == 0x0d ? kModRm : kNothing;
  if ((opcode & 0xf0) == 0x30 || opcode == 0x77 || (opcode & 0xf8) == 0xc8) return kNothing;
  if ((opcode & 0xf4) == 0xa0 && (opcode & 3) < 3) return kNothing;
  if ((opcode & 0xfc) == 0x70 || opcode == 0xa4 || opcode == 0xac || opcode == 0xba ||
      opcode == 0xc2 || (opcode & 0xfc) == 0xc4) {
    return kModRmByte;
  }
  return kModRm;
}

/// Both for look-ups: half a byte for each opcode, and a quarter for each second one.
struct KindTable {
  uint8_t first[128] = {};
  uint8_t second[64] = {};
  constexpr KindTable() {
    for (uint32_t i = 0; i < 256; ++i) {
      const uint32_t kind = kind_of(static_cast<uint8_t>(i));
      first[i / 2] = static_cast<uint8_t>(first[i / 2] | kind << (i % 2 * 4));
      const uint32_t second_kind = second_kind_of(static_cast<uint8_t>(i));
      second[i / 4] = static_cast<uint8_t>(second[i / 4] | second_kind << (i % 4 * 2));
    }
  }
};

constexpr uint32_t kMostPrefixes = 4;
/// No instruction takes more bytes. Where less of a region is left, all of it are opcodes.
constexpr uint32_t kLongest = 24;

/// Walks one instruction. `fields` moves its bytes, in order, from the code to the streams or back:
/// byte(stream) one, which it returns; word(stream) four, the other way round; target(stream)
/// four, the same, and turns what counts from their end into what counts from the beginning.
template <class Fields>
inline void for_one_instruction(Fields& fields, const KindTable& kinds) {
  bool is_short = false;
  bool is_wide = false;
  uint32_t opcode = 0;
  uint32_t kind = 0;
  for (uint32_t prefixes = 0; prefixes <= kMostPrefixes; ++prefixes) {
    opcode = fields.byte(kOpcodes);
    kind = kinds.first[opcode / 2] >> (opcode % 2 * 4) & 15;
    if (kind != kPrefix) break;
    is_short |= opcode == 0x66;
    is_wide = (opcode & 0xf8) == 0x48;
  }
  if (opcode == 0x0f) {
    opcode = fields.byte(kOpcodes);
    kind = kinds.second[opcode / 4] >> (opcode % 4 * 2) & 3;
    if ((opcode & 0xfd) == 0x38) {
      fields.byte(kOpcodes);
      kind = opcode == 0x38 ? kModRm : kModRmByte;
    }
  }
  uint32_t bytes = 0;
  bool has_word = kind == kWord || kind == kModRmWord || kind == kWordOrTwo;
  bool has_byte = kind == kByte || kind == kModRmByte;
  if (kind == kModRm || kind == kModRmByte || kind == kModRmWord || kind >= kTestByte) {
    const uint32_t modrm = fields.byte(kOpcodes);
    const uint32_t mode = modrm >> 6;
    uint32_t base = modrm & 7;
    uint32_t stream = kShortDisplacements;
    if (mode != 3 && base == 4) {
      base = fields.byte(kScales) & 7;
      stream = kStackDisplacements;
      if (mode == 0 && base == 5) fields.word(kDisplacements);
    } else if (mode == 0 && base == 5) {
      fields.target(kDisplacements);
    }
    if (mode == 1) fields.byte(stream);
    if (mode == 2) fields.word(kDisplacements);
    if ((modrm & 0x30) == 0) {
      has_byte |= kind == kTestByte;
      has_word |= kind == kTestWord;
    }
  }
  if (has_byte) fields.byte(kShortImmediates);
  if (kind == kShortJump) fields.byte(kShortJumps);
  if (kind == kCall) fields.target(kCalls);
  if (kind == kJump) fields.target(kJumps);
  if (has_word && !is_short) fields.word(kImmediates);
  if (kind == kTwoBytes || (has_word && is_short)) bytes = 2;
  if (kind == kWordOrTwo && is_wide && !is_short) bytes = 4;
  if (kind == kAddress) bytes = 8;
  for (; bytes != 0; --bytes) fields.byte(kOthers);
}

}  // namespace aril::code_fields
