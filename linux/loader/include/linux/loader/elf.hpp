#pragma once
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "kernel/vm/address_space.hpp"

namespace aril::linux_abi {

/// Why a file is not a program for this machine. text() is what the user reads.
enum class ElfError : uint8_t {
  kNotElf,
  kNot64Bit,
  kOtherArchitecture,
  kNotExecutable,  ///< an object file, a core dump
  kTruncated,      ///< ends before what its headers name
  kMalformed,      ///< headers that contradict each other or the address space
  kReadFailed,
  kNoMemory,
};
const char* text(ElfError error);

/// A PT_LOAD segment, validated: the file part lies in the file, memory_size >= file_size, offset
/// and address agree modulo the page size, and address + memory_size does not overflow.
struct ElfSegment {
  uint64_t offset, address, file_size, memory_size;
  Protection protection;

  [[nodiscard]] uint64_t first_page() const { return address & ~uint64_t{0xfff}; }
  /// The end of the pages that it needs.
  [[nodiscard]] uint64_t end_page() const {
    return (address + memory_size + 0xfff) & ~uint64_t{0xfff};
  }
};

/// What the loader needs to know of an ELF file [ELF-64 object file format 1.5].
struct ElfImage {
  bool position_independent = false;  ///< ET_DYN
  uint64_t entry = 0;
  uint64_t program_headers = 0;  ///< their address in memory; 0 when no segment holds them
  uint16_t program_header_count = 0;
  bool executable_stack = false;
  uint64_t alignment = 0x1000;       ///< the largest of its segments
  std::string interpreter;           ///< empty: none
  std::vector<ElfSegment> segments;  ///< ascending, no two share a page's worth of address space

  [[nodiscard]] uint64_t lowest() const { return segments.front().first_page(); }
  [[nodiscard]] uint64_t highest() const { return segments.back().end_page(); }
};

/// Fills `to` from the file at `offset`, wholly; false when it cannot.
using ElfReader = std::function<bool(uint64_t offset, std::span<std::byte> to)>;

/// Reads and validates the headers. Nothing of the file is trusted.
std::expected<ElfImage, ElfError> parse_elf(const ElfReader& read, uint64_t file_size);

}  // namespace aril::linux_abi
