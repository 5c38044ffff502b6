#include <cstring>

#include "arch/layout.hpp"
#include "arch/upcalls.hpp"
#include "exceptions.hpp"
#include "process.hpp"

// The host's signals are this platform's exceptions and interrupts. The handler runs on a stack of
// its CPU's, with the signals that stand for interrupts blocked; it either repairs what is wrong
// and returns, or builds a TrapFrame on the thread's kernel stack and returns into a door of
// entry.S with that as its stack.
extern "C" {
extern const std::byte aril_return_begin[], aril_return_end[];
extern const std::byte aril_whole_return_begin[], aril_whole_return_end[];
extern const std::byte aril_wait_begin[], aril_wait_call[], aril_wait_skipped[];
extern const std::byte aril_trap[], aril_trapped_system_call[];
}

namespace aril::arch {
namespace {

/// Linux's ucontext_t [linux/arch/x86/include/uapi/asm/ucontext.h, sigcontext.h].
struct HostContext {
  uint64_t flags, link;
  uint64_t stack[3];
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip,
      rflags;
  uint16_t cs, gs, fs, ss;
  uint64_t error_code, vector, blocked_before, fault_address;
};
/// The start of Linux's siginfo_t, as SIGSYS has it [sigaction(2)].
struct HostSignal {
  int number, error, code, padding;
  uint64_t call_address;
  int call_number;
};

constexpr int kSigIll = 4, kSigTrap = 5, kSigBus = 7, kSigFpe = 8, kSigSegv = 11, kSigSys = 31;
constexpr unsigned kPageFault = 14;
constexpr uint64_t kWriteError = 2, kFetchError = 16;
constexpr uint64_t kFlagInterrupts = 0x200;
// TF, DF, NT, RF, AC, ID: as they must be when the kernel goes on (entry.S).
constexpr uint64_t kFlagsToClear = 0x100 | 0x400 | 0x4000 | 0x10000 | 0x40000 | 0x200000;
/// The least room that must be left on a kernel stack for a frame and what handles it.
constexpr uint64_t kStackReserve = 1024;

uint64_t address_of(const std::byte* symbol) { return reinterpret_cast<uint64_t>(symbol); }

TrapFrame frame_of(const HostContext& context, uint64_t error_code) {
  return {
      .r15 = context.r15,
      .r14 = context.r14,
      .r13 = context.r13,
      .r12 = context.r12,
      .rbp = context.rbp,
      .rbx = context.rbx,
      .r11 = context.r11,
      .r10 = context.r10,
      .r9 = context.r9,
      .r8 = context.r8,
      .rax = context.rax,
      .rcx = context.rcx,
      .rdx = context.rdx,
      .rsi = context.rsi,
      .rdi = context.rdi,
      .error_code = error_code,
      .rip = context.rip,
      .cs = kApplicationCs,
      .rflags = context.rflags,
      .rsp = context.rsp,
      .ss = kApplicationSs,
  };
}

/// One signal, and the code that it interrupted.
class Arrival {
 public:
  Arrival(CpuBlock& cpu, HostContext& context, bool were_enabled)
      : cpu_(cpu), context_(context), were_enabled_(were_enabled) {}

  void on_interrupt(uint32_t bit) {
    cpu_.interrupts_pending |= bit;
    uint64_t rip = context_.rip;
    if (rip >= address_of(aril_wait_begin) && rip <= address_of(aril_wait_call)) {
      context_.rip = address_of(aril_wait_skipped);
    } else if (rip >= address_of(aril_return_begin) && rip < address_of(aril_return_end)) {
      start_again(aril_return_begin);
    } else if (rip >= address_of(aril_whole_return_begin) &&
               rip < address_of(aril_whole_return_end)) {
      start_again(aril_whole_return_begin);
    } else if (is_application_address(rip) || (were_enabled_ && is_on_kernel_stack())) {
      enter(aril_trap, ~uint64_t{0}, kInterruptTrap, 0);
      return;
    }
    cpu_.interrupts_enabled = were_enabled_;
  }

  void on_exception() {
    if (context_.vector == kPageFault && shows_now()) {
      cpu_.interrupts_enabled = were_enabled_;
      return;
    }
    uint64_t address = context_.vector == kPageFault ? context_.fault_address : context_.rip;
    if (!is_application_address(context_.rip) && !is_on_kernel_stack())
      aril_on_kernel_exception(frame_of(context_, context_.error_code),
                               static_cast<unsigned>(context_.vector), address);
    enter(aril_trap, context_.error_code, context_.vector, address);
  }

  void on_system_call(const HostSignal& signal) {
    if (!is_application_address(context_.rip))
      report_refused_call(static_cast<uint32_t>(signal.call_number));
    context_.rcx = context_.rip;
    context_.rflags |= kFlagInterrupts;
    context_.r11 = context_.rflags;
    enter(aril_trapped_system_call, context_.rax, 0, 0);
  }

 private:
  [[nodiscard]] bool is_on_kernel_stack() const {
    return context_.rsp <= cpu_.kernel_stack_top &&
           context_.rsp >= cpu_.kernel_stack_bottom + kStackReserve;
  }

  bool shows_now() {
    PageFlags wanted = PageFlags::kRead;
    if ((context_.error_code & kWriteError) != 0) wanted = PageFlags::kWrite;
    if ((context_.error_code & kFetchError) != 0) wanted = PageFlags::kExecute;
    return fill_translation(context_.fault_address, wanted);
  }

  void continue_at(const std::byte* door) {
    context_.rip = address_of(door);
    context_.rflags &= ~kFlagsToClear;
  }

  /// Goes back to where a way to the application begins.
  void start_again(const std::byte* begin) {
    context_.rsp = cpu_.kernel_stack_top - sizeof(TrapFrame);
    continue_at(begin);
  }

  /// Continues at a door, on a frame of what was interrupted, interrupts disabled.
  void enter(const std::byte* door, uint64_t error_code, uint64_t kind, uint64_t address) {
    bool is_application = is_application_address(context_.rip);
    TrapFrame frame = frame_of(context_, error_code);
    // The host's own flag is always set; in a frame it says what stands for it here.
    frame.rflags &= ~kFlagInterrupts;
    if (is_application || were_enabled_) frame.rflags |= kFlagInterrupts;
    // Kernel code has no red zone.
    uint64_t top = is_application ? cpu_.kernel_stack_top : context_.rsp & ~uint64_t{15};
    uint64_t at = top - sizeof frame;
    std::memcpy(reinterpret_cast<void*>(at), &frame, sizeof frame);
    context_.rsp = at;
    context_.rsi = kind;
    context_.rdx = address;
    continue_at(door);
  }

  CpuBlock& cpu_;
  HostContext& context_;
  bool were_enabled_;
};

constexpr bool is_exception(int signal) {
  return signal == kSigSegv || signal == kSigBus || signal == kSigFpe || signal == kSigIll ||
         signal == kSigTrap;
}

uint32_t interrupt_of(int signal) {
  if (signal == kTimerSignal) return kTimerInterrupt;
  if (signal == kKickSignal) return kKickInterrupt;
  return program_signal_bit(signal);
}

}  // namespace

/// On the CPU's signal stack; `aril_signal_return` follows.
extern "C" void aril_on_host_signal(int number, const HostSignal* signal, HostContext* context) {
  CpuBlock& cpu = this_cpu();
  bool were_enabled = cpu.interrupts_enabled != 0;
  cpu.interrupts_enabled = 0;
  Arrival arrival(cpu, *context, were_enabled);
  // Above 0 are the codes of what the host's kernel raised itself.
  if (is_exception(number) && signal->code > 0) {
    arrival.on_exception();
  } else if (number == kSigSys && signal->code > 0) {
    arrival.on_system_call(*signal);
  } else {
    arrival.on_interrupt(interrupt_of(number));
  }
}

/// From entry.S: whether the frame is the application's.
extern "C" bool aril_on_trap(TrapFrame& frame, uint64_t kind, uint64_t address) {
  if (kind == kInterruptTrap) {
    handle_interrupts(__atomic_exchange_n(&this_cpu().interrupts_pending, 0, __ATOMIC_RELAXED));
  } else {
    uint64_t error = frame.error_code;
    handle_exception(frame, static_cast<unsigned>(kind), address);
    // What was resolved is shown at once, instead of at a second fault.
    if (kind == kPageFault) {
      bool is_write = (error & kWriteError) != 0;
      PageFlags wanted = is_write ? PageFlags::kWrite : PageFlags::kRead;
      if (!is_just_shown(address, wanted))
        fill_translation(address, wanted, is_write ? Show::kUpwards : Show::kAround);
    }
  }
  return is_application_address(frame.rip);
}

/// From entry.S, before the application goes on.
extern "C" void aril_return_work(TrapFrame& frame) {
  enable_interrupts();
  if (has_return_work()) aril_before_return_to_application(frame);
}
/// The same at the end of a system call.
extern "C" void aril_system_call_return_work(TrapFrame& frame) {
  enable_interrupts();
  aril_on_system_call_return(frame);
}

extern "C" void aril_take_pending_interrupts() { take_pending_interrupts(); }

void take_pending_interrupts() {
  CpuBlock& cpu = this_cpu();
  for (;;) {
    disable_interrupts();
    uint32_t pending = __atomic_exchange_n(&cpu.interrupts_pending, 0, __ATOMIC_RELAXED);
    if (pending != 0) handle_interrupts(pending);
    asm volatile("movl $1, %%gs:0x48" ::: "memory");
    if (__atomic_load_n(&cpu.interrupts_pending, __ATOMIC_RELAXED) == 0) return;
  }
}

}  // namespace aril::arch
