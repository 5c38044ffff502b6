#pragma once
#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace aril::tool {

/// One PT_LOAD.
struct ElfSegment {
  uint64_t offset = 0;
  uint64_t address = 0;
  uint64_t physical_address = 0;
  uint64_t file_size = 0;
  uint64_t memory_size = 0;
  uint32_t flags = 0;
};

/// What `aril` wants to know of an ELF file: what it is, and what it needs in order to run.
struct ElfFile {
  uint16_t type = 0;  ///< ET_EXEC, ET_DYN, ...
  uint64_t entry = 0;
  std::vector<ElfSegment> segments;
  std::optional<std::string> interpreter;  ///< PT_INTERP
  bool dynamic = false;                    ///< has a PT_DYNAMIC
  std::vector<std::string> needed;         ///< DT_NEEDED, in order
  std::optional<std::string> rpath;        ///< DT_RPATH
  std::optional<std::string> runpath;      ///< DT_RUNPATH
  std::optional<std::string> soname;
  std::string build_id;  ///< hexadecimal; empty when there is none
};

/// Whether the bytes begin as an ELF file does.
bool looks_like_elf(std::span<const std::byte> bytes);

/// Reads a little-endian ELF64 file for x86-64. Every offset and size in `bytes` is untrusted.
/// Throws Error with status kNotExecutable, one line that says what is wrong: a script and its
/// interpreter, another class or architecture, truncation, values that contradict each other.
ElfFile parse_elf(std::span<const std::byte> bytes);

/// "AArch64", "32-bit ARM", "machine 4711".
std::string machine_name(uint16_t machine);

/// The file offset of a virtual address that the file's bytes back.
std::optional<uint64_t> offset_of_address(const ElfFile& file, uint64_t address);

/// A view of a structure at `offset`, copied out; nothing when it does not lie within `bytes`.
template <class T>
std::optional<T> read_at(std::span<const std::byte> bytes, uint64_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
  T value;
  __builtin_memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

/// The bytes [offset, offset + size); nothing when they are not all there.
std::optional<std::span<const std::byte>> slice(std::span<const std::byte> bytes, uint64_t offset,
                                                uint64_t size);

/// The NUL-terminated string at `offset`; nothing when it does not end within `bytes`.
std::optional<std::string_view> string_at(std::span<const std::byte> bytes, uint64_t offset);

}  // namespace aril::tool
