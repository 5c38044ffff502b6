#pragma once
#include "arch/trap_frame.hpp"
#include "base/result.hpp"

namespace aril::linux_abi {

/// rt_sigreturn: puts the registers, SIMD state and mask back that the frame on the application's
/// stack holds. kFault when it cannot be read or holds nonsense.
Result<void> return_from_signal(arch::TrapFrame& frame);

}  // namespace aril::linux_abi
