#pragma once
#include <cstdint>
#include <span>

namespace aril::linux_abi {

/// Builds the table of system calls from the records that were linked into the image. Boot CPU,
/// once, before the first program.
void initialize_system_calls();

/// Makes a system call on the calling task's behalf, for calls that are made of others (io_uring).
/// The result as the application would get it, or -Errno::kRestart; -ENOSYS for a call that the
/// image does not have. Not for calls that change the registers.
int64_t call_system_call(uint32_t number, std::span<const uint64_t> arguments);

}  // namespace aril::linux_abi
