#pragma once
#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "specialize/system_call_scan.hpp"

namespace aril::tool {

/// A program whose system calls do not trap.
struct RewrittenProgram {
  std::string file;
  size_t jumps = 0;  ///< sites that were rewritten
};

/// Lets a static program enter the kernel by a jump, as the kernel itself does at run time for
/// programs that it has not seen before (linux/patch): the instructions before a `syscall` give way
/// to a jump to a stub in a new segment at the file's end, which does what they did, puts the
/// address behind the `syscall` into RCX and jumps through CpuBlock::patched_entry
/// (arch/syscall_entry.hpp). The `syscall` itself stays where it is: who jumps to it, or is sent
/// back to it to make an interrupted call again, finds it. Sites that the scan is not sure of stay
/// as they are. The result runs in Aril's virtual machines only.
/// Nothing when the program is not static or no site can be rewritten. Throws Error when the file
/// is no ELF file.
std::optional<RewrittenProgram> rewrite_system_calls(std::span<const std::byte> file,
                                                     const SystemCallScan& scan);

}  // namespace aril::tool
