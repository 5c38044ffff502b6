#include "linux/abi/syscall.hpp"
#include "linux/signal/signal.hpp"

/// kill and its relatives.
namespace aril::linux_abi {
namespace {

SignalInfo sent_by_caller(int number, int32_t code) {
  Task& task = current_task();
  SignalInfo info{.signal = number, .code = code};
  info.sender = {.pid = task.process().pid(), .uid = task.credentials.uid, .value = 0};
  return info;
}

Result<void> check_number(int number) {
  if (number < 0 || number > kSignalCount) return fail(Errno::kInval);
  return {};
}

// kill(2)'s rule for many receivers: it succeeds when one could be signalled, and else fails with
// what the last one said; kSrch when there was none.
struct Broadcast {
  SignalInfo info;
  int group;  // 0: all but the first process and the caller's
  Result<void> result = fail(Errno::kSrch);
  bool sent = false;
};

Result<void> send_checked(Process& process, const SignalInfo& info) {
  ARIL_TRY(may_signal(process, info.signal));
  if (info.signal == 0 || is_shielded_from(process, info.signal)) return {};
  return send_signal(process, info);
}

void send_if_meant(Process& process, void* argument) {
  auto& broadcast = *static_cast<Broadcast*>(argument);
  bool is_meant = broadcast.group != 0
                      ? process.process_group.load() == broadcast.group
                      : process.pid() != 1 && process.pid() != current_process().pid();
  if (!is_meant) return;
  Result<void> result = send_checked(process, broadcast.info);
  if (result) broadcast.sent = true;
  broadcast.result = result;
}

Result<void> send_to_many(int group, const SignalInfo& info) {
  Broadcast broadcast{info, group};
  process_table::for_each(&send_if_meant, &broadcast);
  if (broadcast.sent) return {};
  return broadcast.result;
}

Result<void> sys_kill(int pid, int number) {
  ARIL_TRY(check_number(number));
  SignalInfo info = sent_by_caller(number, kSiUser);
  if (pid == INT32_MIN) return fail(Errno::kSrch);
  if (pid == -1) return send_to_many(0, info);
  if (pid <= 0) return send_to_many(pid == 0 ? current_process().process_group.load() : -pid, info);
  RefPtr<Process> process = process_table::find_process(pid);
  if (!process) return fail(Errno::kSrch);
  return send_checked(*process, info);
}
ARIL_SYSCALL(62, kill, sys_kill, "pid sig");

Result<void> send_to_task(int pid, int tid, int number, const SignalInfo& info) {
  if (tid <= 0 || (pid <= 0 && pid != -1)) return fail(Errno::kInval);
  ARIL_TRY(check_number(number));
  RefPtr<Task> task = process_table::find_task(tid);
  if (!task || (pid != -1 && task->process().pid() != pid)) return fail(Errno::kSrch);
  ARIL_TRY(may_signal(task->process(), number));
  if (number == 0 || is_shielded_from(task->process(), number)) return {};
  return send_signal(*task, info);
}

Result<void> sys_tkill(int tid, int number) {
  return send_to_task(-1, tid, number, sent_by_caller(number, kSiTkill));
}
ARIL_SYSCALL(200, tkill, sys_tkill, "pid sig");

Result<void> sys_tgkill(int pid, int tid, int number) {
  if (pid <= 0) return fail(Errno::kInval);
  return send_to_task(pid, tid, number, sent_by_caller(number, kSiTkill));
}
ARIL_SYSCALL(234, tgkill, sys_tgkill, "pid pid sig");

// A program may only forge details that cannot be mistaken for the kernel's or kill's, except to
// itself [rt_sigqueueinfo(2)].
Result<SignalInfo> read_forged_info(UserPtr<SignalInfo> pointer, int pid, int number) {
  SignalInfo info = ARIL_TRY(pointer.read());
  info.signal = number;
  if ((info.code >= 0 || info.code == kSiTkill) && pid != current_process().pid())
    return fail(Errno::kPerm);
  return info;
}

Result<void> sys_rt_sigqueueinfo(int pid, int number, UserPtr<SignalInfo> pointer) {
  ARIL_TRY(check_number(number));
  SignalInfo info = ARIL_TRY(read_forged_info(pointer, pid, number));
  RefPtr<Process> process = process_table::find_process(pid);
  if (!process) return fail(Errno::kSrch);
  return send_checked(*process, info);
}
ARIL_SYSCALL(129, rt_sigqueueinfo, sys_rt_sigqueueinfo, "pid sig ptr");

Result<void> sys_rt_tgsigqueueinfo(int pid, int tid, int number, UserPtr<SignalInfo> pointer) {
  if (pid <= 0) return fail(Errno::kInval);
  ARIL_TRY(check_number(number));
  return send_to_task(pid, tid, number, ARIL_TRY(read_forged_info(pointer, pid, number)));
}
ARIL_SYSCALL(297, rt_tgsigqueueinfo, sys_rt_tgsigqueueinfo, "pid pid sig ptr");

}  // namespace

Result<void> may_signal(Process& process, int number) {
  const Task& caller = current_task();
  const Credentials& credentials = caller.credentials;
  if (&process == &caller.process() || credentials.can(Capability::kKill)) return {};
  for (uint32_t id : {credentials.uid, credentials.euid})
    if (id == process.real_uid() || id == process.saved_uid()) return {};
  if (number == kSigCont && process.session.load() == caller.process().session.load()) return {};
  return fail(Errno::kPerm);
}

bool is_shielded_from(Process& process, int number) {
  if (process.pid() != 1 || &process == &current_process()) return false;
  LockGuard guard(process.signal_lock());
  return process.action_locked(number).handler == kSignalDefault;
}

}  // namespace aril::linux_abi
