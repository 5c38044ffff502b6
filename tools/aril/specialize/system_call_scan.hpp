#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace aril::tool {

/// A `syscall` instruction of a program.
struct SystemCallSite {
  uint64_t address = 0;
  std::set<uint32_t> numbers;  ///< that RAX can hold there, as far as the analysis sees
  bool complete = false;       ///< no other number can come there
  /// The instructions from here up to `address` are five bytes or more that do the same wherever
  /// they stand, and whoever comes to them comes to the first. 0: there are no such.
  uint64_t movable_from = 0;
};

/// What an argument of a system call can be; nothing when it may be anything.
using ArgumentValues = std::optional<std::set<uint32_t>>;

/// What the code of one ELF file asks of the kernel.
struct SystemCallScan {
  std::vector<SystemCallSite> sites;
  std::set<uint32_t> numbers;  ///< of all sites together
  /// Address families that socket(2) and socketpair(2) are called with; nothing when one is not a
  /// constant.
  ArgumentValues socket_families = std::set<uint32_t>();
  /// Whether one may be raw, or for ICMP echoes: a type or protocol says so or is not known.
  bool may_make_raw_sockets = false;
  ArgumentValues fcntl_commands = std::set<uint32_t>();
  ArgumentValues option_levels = std::set<uint32_t>();  ///< of setsockopt(2)
  ArgumentValues option_names = std::set<uint32_t>();
  size_t unresolved = 0;        ///< sites of which no number is known
  bool changes_gs = false;      ///< has a WRGSBASE
  std::set<std::string> paths;  ///< "/proc", "/dev", ...: with which strings in the file begin
};

/// Disassembles the executable segments of an ELF file and follows, backwards from each `syscall`
/// instruction, what its registers hold: through moves and constants, and through the arguments of
/// the function that it stands in to that function's direct callers. What is held in memory, or
/// comes through a pointer to a function, is not seen: such sites count as unresolved.
/// Throws Error when the file is no ELF file for x86-64.
SystemCallScan scan_system_calls(std::span<const std::byte> file);

}  // namespace aril::tool
