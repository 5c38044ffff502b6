#pragma once
#include "arch/trap_frame.hpp"
#include "base/result.hpp"
#include "linux/abi/signal.hpp"
#include "linux/process/task.hpp"

namespace aril::linux_abi {

/// Lays the signal frame on the application's stack (or its alternate one) and points `frame` at
/// the handler. `previous` is the mask that rt_sigreturn brings back. kFault when the stack cannot
/// take it; nothing has changed then.
Result<void> build_signal_frame(Task& task, arch::TrapFrame& frame, const SignalAction& action,
                                const SignalInfo& info, SignalSet previous);

}  // namespace aril::linux_abi
