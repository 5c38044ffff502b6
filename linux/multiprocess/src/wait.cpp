#include "linux/process/family.hpp"
#include "linux/signal/signal.hpp"
#include "operations.hpp"
#include "pidfd.hpp"

/// wait4 and waitid [wait(2)].
namespace aril::linux_abi {
namespace {

using Life = Process::Family::Life;

constexpr uint32_t kNoHang = 1, kStopped = 2, kExited = 4, kContinued = 8, kNoWait = 0x1000000;
constexpr uint32_t kNoThread = 0x20000000, kWaitAll = 0x40000000, kWaitClone = 0x80000000;

/// Whether the child is the calling thread's own [wait(2): __WNOTHREAD]. Children of a thread that
/// has ended are those of the first that is left.
bool is_of_caller(const Process& child) {
  Task& self = current_task();
  if (child.family.creator == self.tid()) return true;
  const Task* first = nullptr;
  bool has_creator = false;
  self.process().for_each_task([&](Task& task) {
    if (first == nullptr && !task.is_worker) first = &task;
    has_creator |= task.tid() == child.family.creator;
  });
  return !has_creator && first == &self;
}

/// Whom a request means, found once.
struct Selection {
  const WaitRequest& request;
  RefPtr<Process> process;  ///< of a pidfd

  [[nodiscard]] bool includes(const Process& child) const {
    using enum WaitRequest::Who;
    // A "clone" child is one that does not announce its end with SIGCHLD.
    bool is_clone = child.family.exit_signal != kSigChld;
    bool wants_clone = (request.options & kWaitClone) != 0;
    if ((request.options & kWaitAll) == 0 && is_clone != wants_clone) return false;
    if ((request.options & kNoThread) != 0 && !is_of_caller(child)) return false;
    switch (request.who) {
      case kAny:
        return true;
      case kProcess:
        return child.pid() == request.id;
      case kGroup:
        return child.process_group.load() == request.id;
      case kPidfd:
        return process == &child;
    }
    return false;
  }
};

WaitReport report_of(Process& child, int32_t code, int32_t status) {
  WaitReport report{.pid = child.pid(), .uid = child.real_uid(), .code = code, .status = status};
  {
    LockGuard guard(child.tasks_lock());
    report.use = child.ended_tasks;
  }
  report.use.add(child.family.collected_children);
  return report;
}

/// One look at the children. True when `report` tells of one of them, which is collected into
/// `collected` unless the request leaves it.
bool look_locked(Process& parent, const Selection& selection, bool& has_any, WaitReport& report,
                 RefPtr<Process>& collected) {
  uint32_t options = selection.request.options;
  bool takes = (options & kNoWait) == 0;
  bool found = false;
  family::for_each_child_locked(parent, [&](Process& child) {
    if (found || !selection.includes(child)) return;
    has_any = true;
    if (child.family.life == Life::kZombie) {
      if ((options & kExited) == 0) return;
      ExitStatus status = child.exit_status();
      int32_t code = status.signal == 0 ? kCldExited : status.core_dumped ? kCldDumped : kCldKilled;
      report = report_of(child, code, status.signal != 0 ? status.signal : status.code);
      if (takes) collected = collect_locked(child);
      found = true;
    } else if (child.family.stop_waits && (options & kStopped) != 0) {
      report = report_of(child, kCldStopped, child.family.stop_signal);
      if (takes) child.family.stop_waits = false;
      found = true;
    } else if (child.family.continue_waits && (options & kContinued) != 0) {
      report = report_of(child, kCldContinued, kSigCont);
      if (takes) child.family.continue_waits = false;
      found = true;
    }
  });
  return found;
}

}  // namespace

Result<WaitReport> wait_for_children(const WaitRequest& request) {
  Selection selection{request, nullptr};
  bool may_block = (request.options & kNoHang) == 0;
  if (request.who == WaitRequest::Who::kPidfd) {
    bool is_nonblocking = false;
    selection.process = ARIL_TRY(process_of_pidfd(request.id, is_nonblocking));
    if (is_nonblocking && may_block) {
      // [waitid(2)] EAGAIN instead of waiting.
      WaitRequest once = request;
      once.options |= kNoHang;
      WaitReport report = ARIL_TRY(wait_for_children(once));
      if (report.pid == 0) return fail(Errno::kAgain);
      return report;
    }
  }
  Process& self = current_process();
  WaitReport report;
  bool has_any = false;
  // Released without the lock.
  RefPtr<Process> collected;
  auto is_over = [&] {
    LockGuard guard(family::lock());
    has_any = false;
    return look_locked(self, selection, has_any, report, collected) || !has_any;
  };
  bool over = is_over();
  if (!over && may_block) {
    ARIL_TRY(self.child_queue().wait_until(is_over));
    over = true;
  }
  if (over && report.pid == 0) return fail(Errno::kChild);
  return report;
}

}  // namespace aril::linux_abi
