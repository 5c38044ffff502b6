#pragma once
#include "linux/process/multiprocess.hpp"

/// The parts of aril_multiprocess (linux/process/multiprocess.hpp), a file each.
namespace aril::linux_abi {

Result<int64_t> clone_process(arch::TrapFrame& frame, const CloneArguments& arguments);
Result<WaitReport> wait_for_children(const WaitRequest& request);
void on_process_end(Process& process);
void on_process_stop(Process& process, int signal);
void on_process_continue(Process& process);

/// Adds what the child used to its parent's account, and takes it out of the tree. Under
/// family::lock(); the caller releases the result without it.
[[nodiscard]] RefPtr<Process> collect_locked(Process& child);

}  // namespace aril::linux_abi
