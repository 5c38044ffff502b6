#pragma once
#include "base/process_abi.hpp"

namespace aril::tender {

/// Signal handling of the whole process, as the kernel's note wants it.
void direct_signals(const ProcessKernel& kernel);

/// Makes the virtual CPUs' threads, all but the first, which is the caller, with their signal
/// stacks, GS bases and timers. The new ones go to the kernel at once and wait there. Nothing of
/// the C library that depends on the thread may be used afterwards.
void make_cpus(const ProcessKernel& kernel, ProcessBoot& boot);

/// The first CPU goes to the kernel.
[[noreturn]] void enter_kernel(const ProcessKernel& kernel, const ProcessBoot& boot);

}  // namespace aril::tender
