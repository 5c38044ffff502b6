#include <algorithm>

#include "arch/address_spaces.hpp"
#include "arch/context.hpp"
#include "arch/cpu.hpp"
#include "arch/layout.hpp"
#include "arch/page_table.hpp"
#include "kernel/log/log.hpp"
#include "kernel/vm/user_copy.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/process/clone_flags.hpp"
#include "linux/process/multiprocess.hpp"
#include "linux/process/process.hpp"

/// clone, exit and what belongs to one thread.
namespace aril::linux_abi {
namespace {

constexpr uint64_t kThreadFlags = clone_flag::kVm | clone_flag::kFs | clone_flag::kFiles |
                                  clone_flag::kSighand | clone_flag::kThread;

Result<void> check_clone_flags(const CloneArguments& arguments) {
  using namespace clone_flag;
  uint64_t flags = arguments.flags;
  auto needs = [&](uint64_t flag, uint64_t other) {
    return (flags & flag) == 0 || (flags & other) == other;
  };
  if (!needs(kThread, kSighand) || !needs(kSighand, kVm)) return fail(Errno::kInval);
  if ((flags & kNamespaces) != 0) return fail(Errno::kInval);
  if ((flags & kSetTls) != 0 && arguments.tls >= arch::kApplicationTop) return fail(Errno::kPerm);
  if ((flags & kThread) == 0) return {};
  // A process's tasks share files and working directory here; every threading library asks for it.
  if ((flags & kThreadFlags) != kThreadFlags) return fail(Errno::kInval);
  if ((flags & kPidfd) != 0) return fail(Errno::kInval);
  return {};
}

Result<int64_t> clone_task(arch::TrapFrame& frame, const CloneArguments& arguments) {
  using namespace clone_flag;
  Task& parent = current_task();
  ARIL_TRY(check_task_limit(parent));
  arch::TrapFrame child_frame = frame;
  child_frame.rax = 0;
  if (arguments.stack_pointer != 0) child_frame.rsp = arguments.stack_pointer;
  uint64_t tls = (arguments.flags & kSetTls) != 0 ? arguments.tls : arch::thread_pointer();
  RefPtr<Task> child = ARIL_TRY(Task::create(RefPtr<Process>(&parent.process()), 0,
                                             parent.thread().name(), child_frame, tls));
  child->inherit(parent);
  if ((arguments.flags & kChildClearTid) != 0) child->clear_child_tid = arguments.child_tid;
  int tid = child->tid();
  if ((arguments.flags & kParentSetTid) != 0)
    (void)UserPtr<int32_t>(arguments.parent_tid).write(tid);
  // The child has not started: writing on its behalf is the same, since memory is shared.
  if ((arguments.flags & kChildSetTid) != 0) (void)UserPtr<int32_t>(arguments.child_tid).write(tid);
  child->start();
  return tid;
}

Result<int64_t> clone(arch::TrapFrame& frame, const CloneArguments& arguments) {
  ARIL_TRY(check_clone_flags(arguments));
  if ((arguments.flags & clone_flag::kThread) != 0) return clone_task(frame, arguments);
  const bool may_have_more = arch::kCpusHaveOwnPageTables || arch::cpu_count() == 1;
  if (has_multiprocess() && may_have_more) return aril_multiprocess.clone(frame, arguments);
  static constinit std::atomic<bool> reported{false};
  if (!reported.exchange(true))
    write_record("report fork: %s",
                 may_have_more ? "this image has no processes: build it with --component "
                                 "linux_multiprocess"
                               : "several processes need --platform vm, or --cpus 1: all CPUs of a "
                                 "host's process see the same memory");
  return fail(Errno::kNoSys);
}

Result<int64_t> sys_clone(arch::TrapFrame& frame) {
  constexpr uint64_t kSignalMask = 0xff;
  return clone(frame, {.flags = frame.argument(0) & ~kSignalMask,
                       .exit_signal = static_cast<int>(frame.argument(0) & kSignalMask),
                       .stack_pointer = frame.argument(1),
                       .parent_tid = frame.argument(2),
                       .child_tid = frame.argument(3),
                       .tls = frame.argument(4),
                       // clone(2) has no argument of its own for it.
                       .pidfd = frame.argument(2)});
}
ARIL_SYSCALL(56, clone, sys_clone, "hex ptr ptr ptr ptr");

/// struct clone_args.
struct Clone3Arguments {
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
  uint64_t set_tid, set_tid_size;  // version 1
  uint64_t cgroup;                 // version 2
};
constexpr uint64_t kClone3FirstSize = 64;

Result<Clone3Arguments> read_clone3_arguments(uint64_t address, uint64_t size) {
  if (size < kClone3FirstSize) return fail(Errno::kInval);
  if (size > kPageSize) return fail(Errno::k2Big);
  Clone3Arguments arguments{};
  auto bytes = std::as_writable_bytes(std::span(&arguments, 1));
  ARIL_TRY(copy_from_user(bytes.first(std::min<uint64_t>(size, bytes.size())), address));
  // What a newer program says beyond this must be nothing.
  for (uint64_t at = bytes.size(); at < size; ++at)
    if (ARIL_TRY(UserPtr<uint8_t>(address + at).read()) != 0) return fail(Errno::k2Big);
  return arguments;
}

Result<int64_t> sys_clone3(arch::TrapFrame& frame) {
  constexpr uint64_t kSignalMask = 0xff;
  Clone3Arguments arguments = ARIL_TRY(read_clone3_arguments(frame.argument(0), frame.argument(1)));
  if ((arguments.flags & (kSignalMask | ~clone_flag::kClone3Known)) != 0)
    return fail(Errno::kInval);
  if (arguments.exit_signal > uint64_t{kSignalCount}) return fail(Errno::kInval);
  if ((arguments.flags & (clone_flag::kThread | clone_flag::kParent)) != 0 &&
      arguments.exit_signal != 0)
    return fail(Errno::kInval);
  // Choosing pids is for checkpoint and restore, which there is not.
  if (arguments.set_tid_size != 0) return fail(Errno::kPerm);
  if ((arguments.stack == 0) != (arguments.stack_size == 0) ||
      arguments.stack_size > arch::kApplicationTop ||
      arguments.stack > arch::kApplicationTop - arguments.stack_size)
    return fail(Errno::kInval);
  return clone(frame, {.flags = arguments.flags,
                       .exit_signal = static_cast<int>(arguments.exit_signal),
                       .stack_pointer = arguments.stack + arguments.stack_size,
                       .parent_tid = arguments.parent_tid,
                       .child_tid = arguments.child_tid,
                       .tls = arguments.tls,
                       .pidfd = arguments.pidfd});
}
ARIL_SYSCALL(435, clone3, sys_clone3, "ptr size");

Result<int64_t> sys_fork(arch::TrapFrame& frame) { return clone(frame, {.exit_signal = kSigChld}); }
ARIL_SYSCALL(57, fork, sys_fork, "");
Result<int64_t> sys_vfork(arch::TrapFrame& frame) {
  return clone(frame, {.flags = clone_flag::kVm | clone_flag::kVfork, .exit_signal = kSigChld});
}
ARIL_SYSCALL(58, vfork, sys_vfork, "");

Result<void> sys_exit(int code) {
  // Task::exit ends the process too when this is its last task, with this code.
  Task::exit(code);
}
ARIL_SYSCALL(60, exit, sys_exit, "int");

Result<void> sys_exit_group(int code) {
  current_process().request_exit({.code = code & 0xff});
  Task::exit(code);
}
ARIL_SYSCALL(231, exit_group, sys_exit_group, "int");

Result<int64_t> sys_gettid() { return current_task().tid(); }
ARIL_SYSCALL(186, gettid, sys_gettid, "");

Result<int64_t> sys_set_tid_address(uint64_t address) {
  Task& task = current_task();
  task.clear_child_tid = address;
  return task.tid();
}
ARIL_SYSCALL(218, set_tid_address, sys_set_tid_address, "ptr");

Result<int64_t> sys_arch_prctl(int operation, uint64_t address) {
  constexpr int kSetGs = 0x1001, kSetFs = 0x1002, kGetFs = 0x1003, kGetGs = 0x1004;
  switch (operation) {
    case kSetFs:
      if (address >= arch::kApplicationTop) return fail(Errno::kPerm);
      arch::set_thread_pointer(address);
      return 0;
    case kGetFs:
      ARIL_TRY(UserPtr<uint64_t>(address).write(arch::thread_pointer()));
      return 0;
    case kGetGs:
      ARIL_TRY(UserPtr<uint64_t>(address).write(0));
      return 0;
    case kSetGs:  // GS is the kernel's
    default:
      return fail(Errno::kInval);
  }
}
ARIL_SYSCALL(158, arch_prctl, sys_arch_prctl, "op ptr");

}  // namespace
}  // namespace aril::linux_abi
