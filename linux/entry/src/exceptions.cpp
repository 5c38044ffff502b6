#include "arch/upcalls.hpp"
#include "kernel/log/log.hpp"
#include "kernel/vm/address_space.hpp"
#include "linux/patch/patcher.hpp"
#include "linux/signal/signal.hpp"

namespace aril::linux_abi {
namespace {

// [SDM 3A 6.15].
enum Vector : unsigned {
  kDivideError = 0,
  kDebug = 1,
  kBreakpoint = 3,
  kOverflow = 4,
  kBoundRange = 5,
  kInvalidOpcode = 6,
  kStackFault = 12,
  kGeneralProtection = 13,
  kPageFault = 14,
  kX87Error = 16,
  kAlignmentCheck = 17,
  kSimdError = 19,
};

constexpr char kOutOfMemoryReport[] =
    "report out of memory: the program used more than the machine has; pass a larger --memory";

void report_out_of_memory() {
  // The component linux/multiprocess may have chosen and reported its victim.
  if (!pending_signals(current_task()).contains(kSigKill)) write_record(kOutOfMemoryReport);
}

SignalInfo fault(int number, int32_t code, uint64_t address) {
  SignalInfo info{.signal = number, .code = code};
  info.fault = {.address = address, .address_lsb = 0};
  return info;
}

SignalInfo page_fault_signal(const arch::TrapFrame& frame, uint64_t address) {
  // Resolving again tells why it was refused; it cannot succeed now and fail before, or then the
  // instruction simply runs again and again until it does.
  AddressSpace* space = current_address_space();
  arch::PageFault what{.address = address,
                       .present = (frame.error_code & 1) != 0,
                       .write = (frame.error_code & 2) != 0,
                       .instruction_fetch = (frame.error_code & 16) != 0};
  FaultOutcome outcome = space != nullptr ? space->handle_fault(what) : FaultOutcome::kNotMapped;
  switch (outcome) {
    case FaultOutcome::kResolved:
      return SignalInfo{};
    case FaultOutcome::kNotMapped:
      return fault(kSigSegv, kSegvMaperr, address);
    case FaultOutcome::kNotPermitted:
      return fault(kSigSegv, kSegvAccerr, address);
    case FaultOutcome::kBusError:
      return fault(kSigBus, kBusAdrerr, address);
    case FaultOutcome::kOutOfMemory:
      break;
  }
  report_out_of_memory();
  return SignalInfo{.signal = kSigKill, .code = kSiKernel};
}

// The unmasked exceptions that are flagged [SDM 1 8.1.3, 10.2.3].
int32_t floating_point_code(uint32_t status, uint32_t control) {
  uint32_t raised = status & ~control;
  if ((raised & 0x01) != 0) return kFpeFltinv;
  if ((raised & 0x04) != 0) return kFpeFltdiv;
  if ((raised & 0x08) != 0) return kFpeFltovf;
  if ((raised & 0x12) != 0) return kFpeFltund;
  return kFpeFltres;
}

int32_t floating_point_code(unsigned vector) {
  Thread& thread = Thread::current();
  thread.save_fpu();
  // FXSAVE layout [SDM 1 10.5.1]: FCW at 0, FSW at 2, MXCSR at 24 with its masks in bits 7..12.
  uint16_t control, status;
  uint32_t mxcsr;
  std::memcpy(&control, thread.fpu_area(), sizeof control);
  std::memcpy(&status, thread.fpu_area() + 2, sizeof status);
  std::memcpy(&mxcsr, thread.fpu_area() + 24, sizeof mxcsr);
  return vector == kX87Error ? floating_point_code(status, control)
                             : floating_point_code(mxcsr, mxcsr >> 7);
}

SignalInfo signal_for(const arch::TrapFrame& frame, unsigned vector, uint64_t address) {
  switch (vector) {
    case kDivideError:
      return fault(kSigFpe, kFpeIntdiv, frame.rip);
    case kDebug:
      return fault(kSigTrap, kTrapTrace, frame.rip);
    case kBreakpoint:
      return SignalInfo{.signal = kSigTrap, .code = kSiKernel};
    case kInvalidOpcode:
      return fault(kSigIll, kIllIllopn, frame.rip);
    case kPageFault:
      return page_fault_signal(frame, address);
    case kX87Error:
    case kSimdError:
      return fault(kSigFpe, floating_point_code(vector), frame.rip);
    case kAlignmentCheck:
      return fault(kSigBus, kBusAdraln, frame.rip);
    case kStackFault:
      return SignalInfo{.signal = kSigBus, .code = kSiKernel};
    default:
      return SignalInfo{.signal = kSigSegv, .code = kSiKernel};
  }
}

}  // namespace
}  // namespace aril::linux_abi

namespace aril {

/// From kernel/vm: a system call found no memory for a page of the application's.
extern "C" void aril_on_out_of_memory() {
  using namespace linux_abi;
  report_out_of_memory();
  current_process().request_exit({.signal = kSigKill});
}

}  // namespace aril

namespace aril::arch {

using namespace linux_abi;

extern "C" void aril_on_application_exception(TrapFrame& frame, unsigned vector, uint64_t address) {
  if (vector == kBreakpoint && is_patched_site != nullptr && is_patched_site(frame.rip - 1)) {
    --frame.rip;
    return;
  }
  if (unpatched_address != nullptr) frame.rip = unpatched_address(frame.rip);
  Task& task = current_task();
  SignalInfo info = signal_for(frame, vector, address);
  if (info.signal == 0) return;
  task.fault_vector = vector;
  task.fault_error = frame.error_code;
  task.fault_address = vector == kPageFault ? address : 0;
  force_signal(task, info);
  deliver_signals(frame, SystemCallReturn::kNo);
}

}  // namespace aril::arch
