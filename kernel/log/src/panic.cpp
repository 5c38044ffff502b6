#include <atomic>

#include "arch/cpu.hpp"
#include "console.hpp"
#include "kernel/log/format.hpp"
#include "kernel/log/log.hpp"
#include "kernel/log/panic_at.hpp"

namespace aril {
namespace {

constexpr unsigned kNobody = ~0u;
constexpr int kPanicStatus = 255;
/// The CPU that reports a panic; a second one on it is a panic in the report.
constinit std::atomic<unsigned> panicking_cpu{kNobody};
constinit std::atomic<MachineStop> machine_stop{nullptr};

/// Whether [address, address + 16) is on the running thread's kernel stack.
bool is_on_kernel_stack(uint64_t address) {
  const arch::CpuBlock& cpu = arch::this_cpu();
  return address % 8 == 0 && address >= cpu.kernel_stack_bottom && cpu.kernel_stack_top >= 16 &&
         address <= cpu.kernel_stack_top - 16;
}

}  // namespace

bool log_internal::is_panicking() {
  return panicking_cpu.load(std::memory_order_relaxed) == arch::cpu_index();
}

void set_machine_stop(MachineStop stop) { machine_stop = stop; }

void stop_machine(int exit_status) {
  if (MachineStop stop = machine_stop.load(std::memory_order_relaxed)) stop(exit_status);
  arch::halt_all();
}

void log_backtrace(uint64_t instruction_pointer, uint64_t frame_pointer) {
  constexpr unsigned kMaxFrames = 32;
  write_record("report   #0 0x%lx", instruction_pointer);
  for (unsigned n = 1; n < kMaxFrames && is_on_kernel_stack(frame_pointer); ++n) {
    // The System V frame: the caller's frame pointer, then the return address.
    const auto* frame = reinterpret_cast<const uint64_t*>(frame_pointer);
    uint64_t caller = frame[0];
    if (frame[1] == 0) break;
    write_record("report   #%u 0x%lx", n, frame[1]);
    if (caller <= frame_pointer) break;  // a stack grows down: anything else is a loop
    frame_pointer = caller;
  }
}

namespace {

[[noreturn]] void end_in_panic(uint64_t instruction_pointer, uint64_t frame_pointer,
                               const char* format, va_list arguments) {
  arch::disable_interrupts();
  unsigned self = arch::cpu_index();
  unsigned expected = kNobody;
  if (!panicking_cpu.compare_exchange_strong(expected, self)) {
    if (expected == self) {
      write_record("report panic: failed again while reporting");
      write_record("exit %d", kPanicStatus);
      stop_machine(kPanicStatus);
    }
    for (;;) arch::relax();  // the other CPU's report ends the machine
  }
  char text[512];
  std::string_view message = format_list(text, format, arguments);
  write_record("report kernel panic on CPU %u: %.*s", self, static_cast<int>(message.size()),
               message.data());
  log_backtrace(instruction_pointer, frame_pointer);
  write_record("exit %d", kPanicStatus);
  stop_machine(kPanicStatus);
}

}  // namespace

void panic(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  end_in_panic(reinterpret_cast<uint64_t>(__builtin_return_address(0)),
               *static_cast<const uint64_t*>(__builtin_frame_address(0)), format, arguments);
}

void panic_at(uint64_t instruction_pointer, uint64_t frame_pointer, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  end_in_panic(instruction_pointer, frame_pointer, format, arguments);
}

}  // namespace aril
