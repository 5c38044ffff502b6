#pragma once
#include <cstdint>
#include <span>

#include "linux/abi/syscall.hpp"

namespace aril::linux_abi {

/// Makes a call and tells somebody of it. `record` is null for a call that the image lacks.
using SystemCallTracer = int64_t (*)(SyscallFunction function, uint64_t number,
                                     const SyscallRecord* record, arch::TrapFrame& frame);

/// From now on every system call of the application goes through `tracer`, or with null through
/// none. Before the first program starts; null by the tracer of the only thread that there is.
void set_system_call_tracer(SystemCallTracer tracer);

/// Builds the table of system calls from the records that were linked into the image. Boot CPU,
/// once, before the first program.
void initialize_system_calls();

/// Makes a system call on the calling task's behalf, for calls that are made of others (io_uring).
/// The result as the application would get it, or -Errno::kRestart; -ENOSYS for a call that the
/// image does not have. Not for calls that change the registers.
int64_t call_system_call(uint32_t number, std::span<const uint64_t> arguments);

}  // namespace aril::linux_abi
