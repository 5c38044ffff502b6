#include "linux/abi/syscall.hpp"
#include "linux/process/family.hpp"
#include "linux/process/multiprocess.hpp"
#include "linux/process/resource_usage.hpp"

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
  if (group == 0) group = process->pid();
  LockGuard guard(family::lock());
  if (process.get() != &self) {
    if (process->family.parent != &self) return fail(Errno::kSrch);
    if (process->session.load() != self.session.load()) return fail(Errno::kPerm);
    if (process->has_executed) return fail(Errno::kAcces);
  }
  // A session leader's group is fixed, and a group lies in one session.
  if (process->session.load() == process->pid()) return fail(Errno::kPerm);
  if (group != process->pid() && !family::has_group_locked(group, self.session.load()))
    return fail(Errno::kPerm);
  process->process_group = group;
  return {};
}
ARIL_SYSCALL(109, setpgid, sys_setpgid, "pid pid");

Result<int64_t> sys_setsid() {
  Process& process = current_process();
  // The first program starts as leader of session and group, as a container's does: Linux then
  // refuses.
  LockGuard guard(family::lock());
  if (family::has_group_locked(process.pid(), 0)) return fail(Errno::kPerm);
  process.session = process.process_group = process.pid();
  return process.pid();
}
ARIL_SYSCALL(112, setsid, sys_setsid, "");

// [wait(2)]
constexpr uint32_t kNoHang = 1, kUntraced = 2, kExited = 4, kContinued = 8, kNoWait = 0x1000000;
constexpr uint32_t kNoThread = 0x20000000, kWaitAll = 0x40000000, kWaitClone = 0x80000000;

Result<WaitReport> wait_for_child(const WaitRequest& request) {
  // Without the component there are no children.
  if (!has_multiprocess()) return fail(Errno::kChild);
  return aril_multiprocess.wait(request);
}

// The status word of wait4, from which WIFEXITED and its relatives read.
int32_t status_word(const WaitReport& report) {
  constexpr int32_t kStoppedMark = 0x7f, kContinuedMark = 0xffff, kCoreFlag = 0x80;
  switch (report.code) {
    case kCldExited:
      return (report.status & 0xff) << 8;
    case kCldStopped:
      return report.status << 8 | kStoppedMark;
    case kCldContinued:
      return kContinuedMark;
    case kCldDumped:
      return report.status | kCoreFlag;
    default:
      return report.status;
  }
}

Result<int64_t> sys_wait4(int pid, UserPtr<int32_t> status, uint32_t options,
                          UserPtr<ResourceUsage> usage) {
  using enum WaitRequest::Who;
  constexpr uint32_t kKnown = kNoHang | kUntraced | kContinued | kNoThread | kWaitAll | kWaitClone;
  if ((options & ~kKnown) != 0) return fail(Errno::kInval);
  if (pid == INT32_MIN) return fail(Errno::kSrch);
  WaitRequest request{.options = options | kExited};
  if (pid > 0) {
    request.who = kProcess;
    request.id = pid;
  } else if (pid != -1) {
    request.who = kGroup;
    request.id = pid == 0 ? current_process().process_group.load() : -pid;
  }
  WaitReport report = ARIL_TRY(wait_for_child(request));
  if (report.pid == 0) return 0;
  if (status) ARIL_TRY(status.write(status_word(report)));
  if (usage) ARIL_TRY(usage.write(ResourceUsage::from(report.use)));
  return report.pid;
}
ARIL_SYSCALL(61, wait4, sys_wait4, "pid >ptr hex >ptr");

Result<int64_t> sys_waitid(int type, int id, UserPtr<SignalInfo> info_out, uint32_t options,
                           UserPtr<ResourceUsage> usage) {
  using enum WaitRequest::Who;
  constexpr uint32_t kWanted = kExited | kUntraced | kContinued;
  constexpr uint32_t kKnown = kWanted | kNoHang | kNoWait | kNoThread | kWaitAll | kWaitClone;
  constexpr int kTypeAll = 0, kTypePid = 1, kTypeGroup = 2, kTypePidfd = 3;
  if ((options & ~kKnown) != 0 || (options & kWanted) == 0) return fail(Errno::kInval);
  WaitRequest request{.id = id, .options = options};
  switch (type) {
    case kTypeAll:
      break;
    case kTypePid:
      if (id <= 0) return fail(Errno::kInval);
      request.who = kProcess;
      break;
    case kTypeGroup:
      if (id < 0) return fail(Errno::kInval);
      request.who = kGroup;
      if (id == 0) request.id = current_process().process_group.load();
      break;
    case kTypePidfd:
      if (id < 0) return fail(Errno::kInval);
      request.who = kPidfd;
      break;
    default:
      return fail(Errno::kInval);
  }
  WaitReport report = ARIL_TRY(wait_for_child(request));
  if (info_out) {
    SignalInfo info;
    if (report.pid != 0) {
      info.signal = kSigChld;
      info.code = report.code;
      info.child = {.pid = report.pid,
                    .uid = report.uid,
                    .status = report.status,
                    .padding = 0,
                    .user_time = 0,
                    .system_time = 0};
    }
    ARIL_TRY(info_out.write(info));
  }
  if (usage && report.pid != 0) ARIL_TRY(usage.write(ResourceUsage::from(report.use)));
  return 0;
}
ARIL_SYSCALL(247, waitid, sys_waitid, "int pid >ptr hex >ptr");

}  // namespace
}  // namespace aril::linux_abi
