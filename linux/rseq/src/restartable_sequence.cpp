#include "kernel/vm/user_copy.hpp"
#include "linux/abi/syscall.hpp"
#include "linux/signal/signal.hpp"

/// rseq: critical sections of the application that are not interrupted unnoticed [rseq(2), Linux
/// kernel/rseq.c].
namespace aril::linux_abi {
namespace {

constexpr uint32_t kAreaLength = 32;
constexpr uint64_t kCpuStartOffset = 0, kSectionOffset = 8;
constexpr uint32_t kUninitialised = ~0u;

/// The first 8 bytes of the area.
struct CpuNumbers {
  uint32_t at_start, now;
};

/// struct rseq_cs.
struct CriticalSection {
  uint32_t version, flags;
  uint64_t start, length, abort;
};

Result<void> leave_section(const RestartableSequence& sequence, arch::TrapFrame& frame) {
  UserPtr<uint64_t> pointer(sequence.address + kSectionOffset);
  uint64_t section_address = ARIL_TRY(pointer.read());
  if (section_address == 0) return {};
  auto section = ARIL_TRY(UserPtr<CriticalSection>(section_address).read());
  bool abort_inside = section.abort - section.start < section.length;
  if (section.version != 0 || section.flags != 0 || abort_inside ||
      !is_user_range(section.start, section.length) || !is_user_range(section.abort, 1))
    return fail(Errno::kInval);
  // The word before the abort handler shows that it is meant to be one.
  if (ARIL_TRY(UserPtr<uint32_t>(section.abort - sizeof(uint32_t)).read()) != sequence.signature)
    return fail(Errno::kInval);
  bool is_inside = frame.rip - section.start < section.length;
  ARIL_TRY(pointer.write(0));
  if (is_inside) frame.rip = section.abort;
  return {};
}

Result<void> settle(Task& task, arch::TrapFrame& frame) {
  const RestartableSequence& sequence = task.sequence;
  do {
    task.mark_sequence_settled();
    // It was taken back meanwhile.
    if (sequence.address == 0) return {};
    ARIL_TRY(leave_section(sequence, frame));
    uint32_t cpu = arch::cpu_index();
    ARIL_TRY(UserPtr<CpuNumbers>(sequence.address + kCpuStartOffset).write({cpu, cpu}));
    // A fault of these accesses may have let another thread run.
  } while (task.is_sequence_stale());
  return {};
}

Result<void> unregister(RestartableSequence& sequence, uint64_t address, uint32_t length,
                        uint32_t signature) {
  if (sequence.address == 0 || address != sequence.address || length != sequence.length)
    return fail(Errno::kInval);
  if (signature != sequence.signature) return fail(Errno::kPerm);
  ARIL_TRY(UserPtr<CpuNumbers>(address).write({0, kUninitialised}));
  sequence = RestartableSequence{};
  return {};
}

Result<void> sys_rseq(uint64_t address, uint32_t length, uint32_t flags, uint32_t signature) {
  constexpr uint32_t kUnregister = 1;
  Task& task = current_task();
  RestartableSequence& sequence = task.sequence;
  if ((flags & kUnregister) != 0) {
    if (flags != kUnregister) return fail(Errno::kInval);
    return unregister(sequence, address, length, signature);
  }
  if (flags != 0) return fail(Errno::kInval);
  if (sequence.address != 0) {
    if (address != sequence.address || length != sequence.length) return fail(Errno::kInval);
    return fail(signature != sequence.signature ? Errno::kPerm : Errno::kBusy);
  }
  if (address % kAreaLength != 0 || length != kAreaLength) return fail(Errno::kInval);
  if (!is_user_range(address, length) || address == 0) return fail(Errno::kFault);
  sequence = {.address = address, .length = length, .signature = signature};
  task.mark_sequence_stale();
  return {};
}
ARIL_SYSCALL(334, rseq, sys_rseq, "ptr uint hex hex");

}  // namespace

void settle_restartable_sequence(Task& task, arch::TrapFrame& frame) {
  if (settle(task, frame)) return;
  task.sequence = RestartableSequence{};
  force_signal(task, SignalInfo{.signal = kSigSegv, .code = kSiKernel});
}

}  // namespace aril::linux_abi
