#pragma once
#include <cstdint>

#include "arch/trap_frame.hpp"
#include "base/result.hpp"
#include "linux/process/process.hpp"

namespace aril::linux_abi {

/// What clone, clone3, fork and vfork ask for [clone(2)].
struct CloneArguments {
  uint64_t flags = 0;          ///< CLONE_*, without the signal in clone's low byte
  int exit_signal = 0;         ///< to the parent when the child ends
  uint64_t stack_pointer = 0;  ///< 0: the caller's
  uint64_t parent_tid = 0, child_tid = 0, tls = 0;
  uint64_t pidfd = 0;  ///< where CLONE_PIDFD puts the descriptor
};

/// Whom wait4 and waitid wait for, and for what [wait(2)].
struct WaitRequest {
  enum class Who : uint8_t { kAny, kProcess, kGroup, kPidfd } who = Who::kAny;
  int id = 0;  ///< pid, group or descriptor
  uint32_t options = 0;
};
struct WaitReport {
  int pid = 0;  ///< 0: nothing to report (WNOHANG)
  uint32_t uid = 0;
  int32_t code = 0;    ///< CLD_*
  int32_t status = 0;  ///< exit code or signal
  ResourceUse use;
};

/// What the component linux/multiprocess adds to processes.
struct MultiprocessOperations {
  /// clone without CLONE_THREAD: the child's pid.
  Result<int64_t> (*clone)(arch::TrapFrame& frame, const CloneArguments& arguments);
  Result<WaitReport> (*wait)(const WaitRequest& request);
  /// On its last task's thread, when files and memory are released; not for the first process.
  void (*process_ended)(Process& process);
  /// Thread context.
  void (*process_stopped)(Process& process, int signal);
  /// By SIGCONT. Any context, no lock of family::lock()'s rank or above held.
  void (*process_continued)(Process& process);
};

}  // namespace aril::linux_abi

/// Defined by linux/multiprocess. In an image without that component there is just the first
/// process, and this has no address.
[[gnu::weak]] extern const aril::linux_abi::MultiprocessOperations aril_multiprocess;

namespace aril::linux_abi {
inline bool has_multiprocess() { return &aril_multiprocess != nullptr; }
}  // namespace aril::linux_abi
