#include "linux/abi/syscall.hpp"
#include "linux/process/process.hpp"

/// Calls that change the machine rather than a program's own world: answered as Linux answers an
/// unprivileged container. What is not here and not anywhere else is ENOSYS, as from a Linux that
/// was built without it.
namespace aril::linux_abi {
namespace {

Result<void> not_permitted() { return fail(Errno::kPerm); }
Result<void> no_access() { return fail(Errno::kAcces); }
Result<void> interrupted() { return fail(Errno::kIntr); }

// clang-format off
ARIL_SYSCALL(153, vhangup, not_permitted, "");
ARIL_SYSCALL(163, acct, not_permitted, "path");
ARIL_SYSCALL(167, swapon, not_permitted, "path hex");
ARIL_SYSCALL(168, swapoff, not_permitted, "path");
// Ports would be within reach of ring 0; what drives them is the kernel.
ARIL_SYSCALL(172, iopl, not_permitted, "int");
ARIL_SYSCALL(173, ioperm, not_permitted, "hex hex int");
ARIL_SYSCALL(175, init_module, not_permitted, "ptr size str");
ARIL_SYSCALL(176, delete_module, not_permitted, "str hex");
ARIL_SYSCALL(212, lookup_dcookie, not_permitted, "hex ptr size");
ARIL_SYSCALL(246, kexec_load, not_permitted, "hex uint ptr hex");
ARIL_SYSCALL(300, fanotify_init, not_permitted, "hex hex");
ARIL_SYSCALL(301, fanotify_mark, not_permitted, "fd hex hex fd path");
ARIL_SYSCALL(304, open_by_handle_at, not_permitted, "fd ptr hex");
ARIL_SYSCALL(308, setns, not_permitted, "fd hex");
ARIL_SYSCALL(313, finit_module, not_permitted, "fd str hex");
ARIL_SYSCALL(320, kexec_file_load, not_permitted, "fd fd uint str hex");
ARIL_SYSCALL(321, bpf, not_permitted, "int ptr uint");
ARIL_SYSCALL(323, userfaultfd, not_permitted, "hex");
ARIL_SYSCALL(428, open_tree, not_permitted, "fd path hex");
ARIL_SYSCALL(429, move_mount, not_permitted, "fd path fd path hex");
ARIL_SYSCALL(430, fsopen, not_permitted, "str hex");
ARIL_SYSCALL(431, fsconfig, not_permitted, "fd uint str ptr int");
ARIL_SYSCALL(432, fsmount, not_permitted, "fd hex hex");
ARIL_SYSCALL(433, fspick, not_permitted, "fd path hex");
ARIL_SYSCALL(442, mount_setattr, not_permitted, "fd path hex ptr size");
// perf_event_paranoid = 3.
ARIL_SYSCALL(298, perf_event_open, no_access, "ptr pid int fd hex");
// Calls are restarted without it.
ARIL_SYSCALL(219, restart_syscall, interrupted, "");
// clang-format on

/// [unshare(2)] A single process shares with nobody; namespaces are not offered.
Result<void> sys_unshare(uint64_t flags) {
  constexpr uint64_t kFs = 0x200, kFiles = 0x400, kSystemVSemaphores = 0x40000, kThread = 0x10000,
                     kSignalHandlers = 0x800, kMemory = 0x100;
  constexpr uint64_t kNamespaces = 0x7e020000 | 0x80;
  constexpr uint64_t kOwn = kFs | kFiles | kSystemVSemaphores;
  constexpr uint64_t kTogether = kThread | kSignalHandlers | kMemory;
  if ((flags & ~(kNamespaces | kOwn | kTogether)) != 0) return fail(Errno::kInval);
  if ((flags & kNamespaces) != 0) return fail(Errno::kPerm);
  // A thread cannot leave its process.
  if ((flags & kTogether) != 0 && current_process().task_count() != 1) return fail(Errno::kInval);
  // Threads share files and working directory for good here.
  if ((flags & (kFs | kFiles)) != 0 && current_process().task_count() != 1)
    return fail(Errno::kInval);
  return {};
}
ARIL_SYSCALL(272, unshare, sys_unshare, "hex");

}  // namespace
}  // namespace aril::linux_abi
