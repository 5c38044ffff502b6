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

struct Broadcast {
  SignalInfo info;
  int except_pid;
  bool sent = false;
};

void send_to_all(Process& process, void* argument) {
  auto& broadcast = *static_cast<Broadcast*>(argument);
  // kill(-1) spares the first process and the caller [kill(2)].
  if (process.pid() == 1 || process.pid() == broadcast.except_pid) return;
  broadcast.sent = true;
  if (broadcast.info.signal != 0) (void)send_signal(process, broadcast.info);
}

Result<void> send_to_group(int group, const SignalInfo& info) {
  if (info.signal != 0) return send_group_signal(group, info);
  struct Search {
    int group;
    bool found = false;
  } search{group};
  process_table::for_each(
      [](Process& process, void* argument) {
        auto& wanted = *static_cast<Search*>(argument);
        if (process.process_group.load() == wanted.group) wanted.found = true;
      },
      &search);
  if (!search.found) return fail(Errno::kSrch);
  return {};
}

Result<void> sys_kill(int pid, int number) {
  ARIL_TRY(check_number(number));
  SignalInfo info = sent_by_caller(number, kSiUser);
  if (pid == -1) {
    Broadcast broadcast{info, current_process().pid()};
    process_table::for_each(&send_to_all, &broadcast);
    if (!broadcast.sent) return fail(Errno::kSrch);
    return {};
  }
  if (pid == 0) return send_to_group(current_process().process_group.load(), info);
  if (pid < -1) return send_to_group(-pid, info);
  RefPtr<Process> process = process_table::find_process(pid);
  if (!process) return fail(Errno::kSrch);
  if (number == 0) return {};
  return send_signal(*process, info);
}
ARIL_SYSCALL(62, kill, sys_kill, "pid sig");

Result<void> send_to_task(int pid, int tid, int number, const SignalInfo& info) {
  if (tid <= 0 || (pid <= 0 && pid != -1)) return fail(Errno::kInval);
  ARIL_TRY(check_number(number));
  RefPtr<Task> task = process_table::find_task(tid);
  if (!task || (pid != -1 && task->process().pid() != pid)) return fail(Errno::kSrch);
  if (number == 0) return {};
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
  if (number == 0) return {};
  return send_signal(*process, info);
}
ARIL_SYSCALL(129, rt_sigqueueinfo, sys_rt_sigqueueinfo, "pid sig ptr");

Result<void> sys_rt_tgsigqueueinfo(int pid, int tid, int number, UserPtr<SignalInfo> pointer) {
  if (pid <= 0) return fail(Errno::kInval);
  ARIL_TRY(check_number(number));
  return send_to_task(pid, tid, number, ARIL_TRY(read_forged_info(pointer, pid, number)));
}
ARIL_SYSCALL(297, rt_tgsigqueueinfo, sys_rt_tgsigqueueinfo, "pid pid sig ptr");

}  // namespace
}  // namespace aril::linux_abi
