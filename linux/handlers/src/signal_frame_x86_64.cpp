#include <algorithm>
#include <array>
#include <cstring>

#include "arch/context.hpp"
#include "arch/page_table.hpp"
#include "base/units.hpp"
#include "kernel/vm/user_copy.hpp"
#include "linux/process/process.hpp"
#include "linux/signal/signal.hpp"
#include "signal_frame.hpp"

/// The frame that x86-64 Linux lays on the stack for a handler [linux asm/sigframe.h,
/// uapi/asm/sigcontext.h, uapi/asm-generic/ucontext.h].
namespace aril::linux_abi {
namespace {

struct SignalContext {
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip,
      rflags;
  uint16_t cs, gs, fs, ss;
  uint64_t error, trap_number, old_mask, cr2;
  uint64_t fpu_state;  ///< address
  uint64_t reserved[8];
};
static_assert(sizeof(SignalContext) == 256);

struct UserContext {
  uint64_t flags;
  uint64_t link;
  AlternateStack stack;
  SignalContext registers;
  SignalSet mask;
};

struct SignalFrame {
  uint64_t return_address;
  UserContext context;
  SignalInfo info;
};

constexpr uint64_t kFlagXstate = 1, kFlagStackSegment = 2, kFlagStrictStackSegment = 4;
constexpr uint64_t kRedZone = 128;  // [System V ABI, AMD64 supplement, 3.2.2]
constexpr uint16_t kUserCodeSegment = 0x33, kUserStackSegment = 0x2b;  // as Linux shows them

// What a program may put into RFLAGS: CF PF AF ZF SF TF DF OF RF AC.
constexpr uint64_t kRestorableFlags = 0x50dd5;
constexpr uint64_t kTrapFlag = 1u << 8, kDirectionFlag = 1u << 10, kResumeFlag = 1u << 16;
constexpr uint64_t kAlwaysSetFlags = (1u << 1) | (1u << 9);  // reserved bit 1, IF

// The FXSAVE area, then the XSAVE header [SDM 1 13.4.1, 13.4.2].
constexpr size_t kFxsaveSize = 512, kXsaveHeaderSize = 64, kSoftwareBytesOffset = 464;
constexpr size_t kMxcsrOffset = 24, kMxcsrMaskOffset = 28;
constexpr uint32_t kMagic1 = 0x46505853, kMagic2 = 0x46505845;

/// In the bytes of the FXSAVE area that are left to software.
struct SoftwareBytes {
  uint32_t magic1;
  uint32_t extended_size;
  uint64_t features;
  uint32_t state_size;
  uint32_t padding[7];
};
static_assert(sizeof(SoftwareBytes) == 48);

struct XsaveHeader {
  uint64_t state_bits, compaction_bits, reserved[6];
};
static_assert(sizeof(XsaveHeader) == kXsaveHeaderSize);

bool has_xsave() { return arch::fpu_state_size() > kFxsaveSize; }

// The state components that the kernel enabled. Only the instruction can tell.
uint64_t enabled_features() {
  if (!has_xsave()) return 3;
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

uint64_t fpu_frame_size() { return arch::fpu_state_size() + (has_xsave() ? sizeof(kMagic2) : 0); }

bool is_on(const AlternateStack& stack, uint64_t rsp) {
  return (stack.flags & kSsDisable) == 0 && rsp > stack.base && rsp - stack.base <= stack.size;
}

uint64_t choose_stack(const Task& task, const arch::TrapFrame& frame, const SignalAction& action) {
  const AlternateStack& alternate = task.alternate_stack;
  bool wanted = (action.flags & kSaOnstack) != 0 && (alternate.flags & kSsDisable) == 0;
  if (wanted && !is_on(alternate, frame.rsp)) return alternate.base + alternate.size;
  return frame.rsp - kRedZone;
}

Result<void> write_fpu_state(Thread& thread, uint64_t address) {
  thread.save_fpu();
  std::span<std::byte> state(thread.fpu_area(), arch::fpu_state_size());
  ARIL_TRY(copy_to_user(address, state));
  if (!has_xsave()) return {};
  SoftwareBytes software{.magic1 = kMagic1,
                         .extended_size = uint32_t(fpu_frame_size()),
                         .features = enabled_features(),
                         .state_size = uint32_t(state.size()),
                         .padding = {}};
  ARIL_TRY(UserPtr<SoftwareBytes>(address + kSoftwareBytesOffset).write(software));
  return UserPtr<uint32_t>(address + state.size()).write(kMagic2);
}

// The application may have written anything: what the CPU would refuse is taken out [SDM 1 13.8.1].
void sanitize_fpu_state(std::byte* area, bool extended) {
  uint32_t mxcsr, mask;
  std::memcpy(&mask, area + kMxcsrMaskOffset, sizeof mask);
  std::memcpy(&mxcsr, area + kMxcsrOffset, sizeof mxcsr);
  mxcsr &= 0xffff & (mask != 0 ? mask : 0xffbf);
  std::memcpy(area + kMxcsrOffset, &mxcsr, sizeof mxcsr);
  if (!has_xsave()) return;
  XsaveHeader header{};
  if (extended) {
    std::memcpy(&header, area + kFxsaveSize, sizeof header);
    header = XsaveHeader{.state_bits = header.state_bits & enabled_features()};
  } else {
    header.state_bits = 3;
  }
  std::memcpy(area + kFxsaveSize, &header, sizeof header);
}

Result<void> restore_fpu_state(Thread& thread, uint64_t address) {
  std::span<std::byte> area(thread.fpu_area(), arch::fpu_state_size());
  if (address == 0) {
    arch::fpu_initialize(area.data());
    thread.reload_fpu();
    return {};
  }
  SoftwareBytes software = ARIL_TRY(UserPtr<SoftwareBytes>(address + kSoftwareBytesOffset).read());
  bool extended = has_xsave() && software.magic1 == kMagic1 && software.state_size == area.size() &&
                  software.extended_size >= area.size();
  thread.save_fpu();
  // MXCSR_MASK is the CPU's, not the application's.
  uint32_t mask;
  std::memcpy(&mask, area.data() + kMxcsrMaskOffset, sizeof mask);
  Result<void> copied = copy_from_user(extended ? area : area.first(kFxsaveSize), address);
  std::memcpy(area.data() + kMxcsrMaskOffset, &mask, sizeof mask);
  sanitize_fpu_state(area.data(), extended);
  thread.reload_fpu();
  return copied;
}

SignalContext context_from(const Task& task, const arch::TrapFrame& frame, uint64_t fpu_address,
                           SignalSet previous) {
  return SignalContext{.r8 = frame.r8,
                       .r9 = frame.r9,
                       .r10 = frame.r10,
                       .r11 = frame.r11,
                       .r12 = frame.r12,
                       .r13 = frame.r13,
                       .r14 = frame.r14,
                       .r15 = frame.r15,
                       .rdi = frame.rdi,
                       .rsi = frame.rsi,
                       .rbp = frame.rbp,
                       .rbx = frame.rbx,
                       .rdx = frame.rdx,
                       .rax = frame.rax,
                       .rcx = frame.rcx,
                       .rsp = frame.rsp,
                       .rip = frame.rip,
                       .rflags = frame.rflags,
                       .cs = kUserCodeSegment,
                       .gs = 0,
                       .fs = 0,
                       .ss = kUserStackSegment,
                       .error = task.fault_error,
                       .trap_number = task.fault_vector,
                       .old_mask = previous.bits(),
                       .cr2 = task.fault_address,
                       .fpu_state = fpu_address,
                       .reserved = {}};
}

void restore_registers(arch::TrapFrame& frame, const SignalContext& saved) {
  frame.r8 = saved.r8, frame.r9 = saved.r9, frame.r10 = saved.r10, frame.r11 = saved.r11;
  frame.r12 = saved.r12, frame.r13 = saved.r13, frame.r14 = saved.r14, frame.r15 = saved.r15;
  frame.rdi = saved.rdi, frame.rsi = saved.rsi, frame.rbp = saved.rbp, frame.rbx = saved.rbx;
  frame.rdx = saved.rdx, frame.rax = saved.rax, frame.rcx = saved.rcx, frame.rsp = saved.rsp;
  frame.rip = saved.rip;
  frame.rflags = (frame.rflags & ~kRestorableFlags) | (saved.rflags & kRestorableFlags);
  frame.rflags |= kAlwaysSetFlags;
}

}  // namespace

Result<void> build_signal_frame(Task& task, arch::TrapFrame& frame, const SignalAction& action,
                                const SignalInfo& info, SignalSet previous) {
  // Linux refuses a handler without a restorer too: there is nothing to return to.
  if ((action.flags & kSaRestorer) == 0) return fail(Errno::kFault);
  uint64_t stack = choose_stack(task, frame, action);
  bool switches = stack != frame.rsp - kRedZone;
  uint64_t fpu_address = align_down(stack - fpu_frame_size(), arch::kFpuStateAlignment);
  // As at a function's entry: the stack is 16-byte aligned before the return address.
  uint64_t address = align_down(fpu_address - sizeof(SignalFrame), 16) - 8;
  if (address >= stack || stack >= arch::kApplicationTop) return fail(Errno::kFault);
  if (is_on(task.alternate_stack, stack - 1) && address < task.alternate_stack.base)
    return fail(Errno::kFault);

  ARIL_TRY(write_fpu_state(task.thread(), fpu_address));
  SignalFrame image{};
  image.return_address = action.restorer;
  image.context.flags =
      kFlagStackSegment | kFlagStrictStackSegment | (has_xsave() ? kFlagXstate : 0);
  image.context.stack = task.alternate_stack;
  if ((task.alternate_stack.flags & kSsDisable) == 0)
    image.context.stack.flags =
        (task.alternate_stack.flags & int32_t(kSsAutodisarm)) |
        (!switches && is_on(task.alternate_stack, frame.rsp) ? kSsOnstack : 0);
  image.context.registers = context_from(task, frame, fpu_address, previous);
  image.context.mask = previous;
  image.info = info;
  ARIL_TRY(UserPtr<SignalFrame>(address).write(image));

  if ((uint32_t(task.alternate_stack.flags) & kSsAutodisarm) != 0) task.alternate_stack = {};
  frame.rdi = uint64_t(info.signal);
  frame.rsi = address + offsetof(SignalFrame, info);
  frame.rdx = address + offsetof(SignalFrame, context);
  frame.rax = 0;
  frame.rsp = address;
  frame.rip = action.handler;
  frame.rflags &= ~(kDirectionFlag | kResumeFlag | kTrapFlag);
  return {};
}

Result<void> return_from_signal(arch::TrapFrame& frame) {
  Task& task = current_task();
  // The restorer was entered by `ret`, which took the return address off.
  UserContext context =
      ARIL_TRY(UserPtr<UserContext>(frame.rsp - 8 + offsetof(SignalFrame, context)).read());
  if (context.registers.rip >= arch::kApplicationTop) return fail(Errno::kFault);
  ARIL_TRY(restore_fpu_state(task.thread(), context.registers.fpu_state));
  restore_registers(frame, context.registers);
  context.stack.flags &= ~kSsOnstack;
  if (context.stack.size >= kMinimumSignalStack || (context.stack.flags & kSsDisable) != 0)
    task.alternate_stack = context.stack;
  LockGuard guard(task.process().signal_lock());
  task.blocked = context.mask & ~kUnblockableSignals;
  task.update_interruption_locked();
  return {};
}

}  // namespace aril::linux_abi
