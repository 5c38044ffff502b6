#include "linux/abi/syscall.hpp"
#include "linux/process/process.hpp"

/// Process, group and session ids, and waiting for children.
namespace aril::linux_abi {
namespace {

Result<int64_t> sys_getpid() { return current_process().pid(); }
ARIL_SYSCALL(39, getpid, sys_getpid, "");
Result<int64_t> sys_getppid() { return current_process().parent_pid(); }
ARIL_SYSCALL(110, getppid, sys_getppid, "");

Result<RefPtr<Process>> process_of(int pid) {
  if (pid < 0) return fail(Errno::kInval);
  if (pid == 0) return RefPtr<Process>(&current_process());
  RefPtr<Process> process = process_table::find_process(pid);
  if (!process) return fail(Errno::kSrch);
  return process;
}

Result<int64_t> sys_getpgid(int pid) { return ARIL_TRY(process_of(pid))->process_group.load(); }
ARIL_SYSCALL(121, getpgid, sys_getpgid, "pid");
Result<int64_t> sys_getpgrp() { return current_process().process_group.load(); }
ARIL_SYSCALL(111, getpgrp, sys_getpgrp, "");
Result<int64_t> sys_getsid(int pid) { return ARIL_TRY(process_of(pid))->session.load(); }
ARIL_SYSCALL(124, getsid, sys_getsid, "pid");

Result<void> sys_setpgid(int pid, int group) {
  if (group < 0) return fail(Errno::kInval);
  RefPtr<Process> process = ARIL_TRY(process_of(pid));
  Process& self = current_process();
  if (process.get() != &self && process->parent_pid() != self.pid()) return fail(Errno::kSrch);
  // A session leader's group is fixed.
  if (process->session.load() == process->pid()) return fail(Errno::kPerm);
  process->process_group = group == 0 ? process->pid() : group;
  return {};
}
ARIL_SYSCALL(109, setpgid, sys_setpgid, "pid pid");

Result<int64_t> sys_setsid() {
  Process& process = current_process();
  // The first program starts as leader of session and group, as a container's does: Linux then
  // refuses.
  if (process.process_group.load() == process.pid()) return fail(Errno::kPerm);
  process.session = process.process_group = process.pid();
  return process.pid();
}
ARIL_SYSCALL(112, setsid, sys_setsid, "");

// There are no children without the component `process`.
Result<int64_t> sys_wait4(int, uint64_t, int, uint64_t) { return fail(Errno::kChild); }
ARIL_SYSCALL(61, wait4, sys_wait4, "pid >ptr hex >ptr");
Result<int64_t> sys_waitid(int, int, uint64_t, int, uint64_t) { return fail(Errno::kChild); }
ARIL_SYSCALL(247, waitid, sys_waitid, "int pid >ptr hex >ptr");

}  // namespace
}  // namespace aril::linux_abi
