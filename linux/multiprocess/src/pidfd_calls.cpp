#include "base/units.hpp"
#include "kernel/vm/address_space.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/files/file_table.hpp"
#include "linux/files/io_vector.hpp"
#include "linux/process/family.hpp"
#include "linux/signal/signal.hpp"
#include "pidfd.hpp"

/// pidfd_open, pidfd_send_signal, pidfd_getfd, process_madvise.
namespace aril::linux_abi {
namespace {

Result<int64_t> sys_pidfd_open(int pid, uint32_t flags) {
  constexpr uint32_t kNonBlock = static_cast<uint32_t>(OpenFlags::kNonBlock);
  if ((flags & ~kNonBlock) != 0 || pid <= 0) return fail(Errno::kInval);
  RefPtr<Process> process = process_table::find_process(pid);
  if (!process) {
    // A thread that is no leader has none.
    return fail(process_table::find_task(pid) ? Errno::kInval : Errno::kSrch);
  }
  RefPtr<File> file = ARIL_TRY(try_make_ref<PidFile>(
      std::move(process), OpenFlags::kReadWrite | static_cast<OpenFlags>(flags)));
  return current_process().files().install(std::move(file), CloseOnExec::kYes);
}
ARIL_SYSCALL(434, pidfd_open, sys_pidfd_open, "pid hex");

bool is_collected(Process& process) {
  LockGuard guard(family::lock());
  return process.family.life == Process::Family::Life::kCollected;
}

Result<void> sys_pidfd_send_signal(int fd, int number, UserPtr<SignalInfo> forged, uint32_t flags) {
  if (flags != 0 || number < 0 || number > kSignalCount) return fail(Errno::kInval);
  bool is_nonblocking;
  RefPtr<Process> process = ARIL_TRY(process_of_pidfd(fd, is_nonblocking));
  const Task& caller = current_task();
  SignalInfo info{.signal = number, .code = kSiUser};
  info.sender = {.pid = caller.process().pid(), .uid = caller.credentials.uid, .value = 0};
  if (forged) {
    info = ARIL_TRY(forged.read());
    if (info.signal != number) return fail(Errno::kInval);
    bool is_own = process == &caller.process();
    if ((info.code >= 0 || info.code == kSiTkill) && !is_own) return fail(Errno::kPerm);
  }
  if (is_collected(*process)) return fail(Errno::kSrch);
  ARIL_TRY(may_signal(*process, number));
  if (number == 0 || is_shielded_from(*process, number)) return {};
  return send_signal(*process, info);
}
ARIL_SYSCALL(424, pidfd_send_signal, sys_pidfd_send_signal, "fd sig ptr hex");

/// [ptrace(2)] "Ptrace access mode checking", as far as there are no security modules: the same
/// user, or the capability.
Result<void> may_inspect(Process& process) {
  const Credentials& credentials = current_task().credentials;
  if (&process == &current_process() || credentials.can(Capability::kSysPtrace)) return {};
  bool same_user = credentials.uid == process.real_uid() && credentials.uid == process.saved_uid();
  if (!same_user || !process.dumpable) return fail(Errno::kPerm);
  return {};
}

Result<int64_t> sys_pidfd_getfd(int fd, int target, uint32_t flags) {
  if (flags != 0) return fail(Errno::kInval);
  bool is_nonblocking;
  RefPtr<Process> process = ARIL_TRY(process_of_pidfd(fd, is_nonblocking));
  ARIL_TRY(may_inspect(*process));
  RefPtr<FileTable> theirs = process->find_files();
  if (!theirs) return fail(Errno::kSrch);
  RefPtr<File> file = ARIL_TRY(theirs->get(target));
  return current_process().files().install(std::move(file), CloseOnExec::kYes);
}
ARIL_SYSCALL(438, pidfd_getfd, sys_pidfd_getfd, "fd fd hex");

/// [process_madvise(2)] Advice that does not change what the other process sees.
Result<int64_t> sys_process_madvise(int fd, UserPtr<IoBuffer::Segment> vector, uint64_t count,
                                    int advice, uint32_t flags) {
  constexpr int kWillNeed = 3, kCold = 20, kPageOut = 21;
  if (flags != 0) return fail(Errno::kInval);
  IoVector segments = ARIL_TRY(IoVector::read(vector.address(), count));
  bool is_nonblocking;
  RefPtr<Process> process = ARIL_TRY(process_of_pidfd(fd, is_nonblocking));
  if (advice != kWillNeed && advice != kCold && advice != kPageOut) return fail(Errno::kInval);
  ARIL_TRY(may_inspect(*process));
  if (!current_task().credentials.can(Capability::kSysNice)) return fail(Errno::kPerm);
  RefPtr<AddressSpace> space = process->find_address_space();
  if (!space) return fail(Errno::kSrch);
  int64_t advised = 0;
  for (const IoBuffer::Segment& segment : segments.segments()) {
    if (!is_aligned(segment.address, kPageSize)) return fail(Errno::kInval);
    // There is no swap: memory that is cold, or to be paged out, stays.
    Result<void> result = space->advise(
        segment.address, align_up(segment.length, kPageSize),
        advice == kWillNeed ? AddressSpace::Advice::kWillNeed : AddressSpace::Advice::kOther);
    if (!result && advised == 0) return fail(result.error());
    if (!result) break;
    advised += static_cast<int64_t>(segment.length);
  }
  return advised;
}
ARIL_SYSCALL(440, process_madvise, sys_process_madvise, "fd iovec size int hex");

}  // namespace
}  // namespace aril::linux_abi
