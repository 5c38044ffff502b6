#include "linux/event/signal_fd.hpp"

#include "linux/process/process.hpp"
#include "linux/signal/signal.hpp"

namespace aril::linux_abi {

namespace {

const char kSignalFdFacet = 0;

/// struct signalfd_siginfo.
struct SignalFdInfo {
  uint32_t signal;
  int32_t error, code;
  uint32_t pid, uid;
  int32_t fd;
  uint32_t timer_id, band, overrun, trap_number;
  int32_t status, integer;
  uint64_t pointer, user_time, system_time, address;
  uint16_t address_lsb, padding2;
  int32_t syscall;
  uint64_t call_address;
  uint32_t architecture;
  uint8_t padding[28];
};
static_assert(sizeof(SignalFdInfo) == 128);

SignalFdInfo translate(const SignalInfo& info) {
  SignalFdInfo out{};
  out.signal = static_cast<uint32_t>(info.signal);
  out.error = info.error;
  out.code = info.code;
  if (info.code == kSiTimer) {
    out.timer_id = static_cast<uint32_t>(info.timer.timer_id);
    out.overrun = static_cast<uint32_t>(info.timer.overrun);
    out.pointer = info.timer.value;
    out.integer = static_cast<int32_t>(info.timer.value);
  } else if (info.signal == kSigChld && info.code > 0) {
    out.pid = static_cast<uint32_t>(info.child.pid);
    out.uid = info.child.uid;
    out.status = info.child.status;
    out.user_time = static_cast<uint64_t>(info.child.user_time);
    out.system_time = static_cast<uint64_t>(info.child.system_time);
  } else if (kSynchronousSignals.contains(info.signal) && info.code > 0) {
    out.address = info.fault.address;
  } else {
    out.pid = static_cast<uint32_t>(info.sender.pid);
    out.uid = info.sender.uid;
    out.pointer = info.sender.value;
    out.integer = static_cast<int32_t>(info.sender.value);
  }
  return out;
}

}  // namespace

void SignalFd::set_mask(SignalSet mask) {
  mask_.store((mask & ~kUnblockableSignals).bits(), std::memory_order_relaxed);
  if (current_task_or_null() != nullptr) current_process().signal_queue().wake_all();
}

Result<size_t> SignalFd::read(IoBuffer& buffer) {
  if (buffer.remaining() < sizeof(SignalFdInfo)) return fail(Errno::kInval);
  Task& task = current_task();
  size_t total = 0;
  while (buffer.remaining() >= sizeof(SignalFdInfo)) {
    SignalInfo info;
    if (take_pending_signal(task, mask(), info) == 0) {
      if (total != 0) break;
      if (is_nonblocking()) return fail(Errno::kAgain);
      ARIL_TRY(task.process().signal_queue().wait_until(
          [&] { return !(pending_signals(task) & mask()).empty(); }));
      continue;
    }
    SignalFdInfo out = translate(info);
    auto copied = buffer.copy_out(std::as_bytes(std::span(&out, 1)));
    if (!copied) {
      if (total == 0) return copied;
      break;
    }
    total += sizeof(out);
  }
  return total;
}

PollEvents SignalFd::poll(PollRegistrar* registrar) {
  Task* task = current_task_or_null();
  if (task == nullptr) return PollEvents::kNone;
  if (registrar != nullptr) registrar->watch(task->process().signal_queue());
  return (pending_signals(*task) & mask()).empty() ? PollEvents::kNone : kReadable;
}

void* SignalFd::facet(const void* tag) { return tag == &kSignalFdFacet ? this : nullptr; }

SignalFd* as_signal_fd(File& file) { return static_cast<SignalFd*>(file.facet(&kSignalFdFacet)); }

}  // namespace aril::linux_abi
