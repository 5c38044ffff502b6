#pragma once
#include <cstddef>
#include <cstdint>

namespace aril::arch {

/// The application's (or interrupted kernel code's) general registers, as trap and system-call
/// entry push them on the thread's kernel stack. Assembly in entry.S depends on the layout.
struct TrapFrame {
  uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
  /// Exception error code; for a system call, its number as the application passed it in rax
  /// (so that a restart can put it back); ~0 for an interrupt.
  uint64_t error_code;
  uint64_t rip, cs, rflags, rsp, ss;

  // The system-call convention [System V ABI, AMD64 supplement, A.2.1].
  [[nodiscard]] uint64_t system_call_number() const { return error_code; }
  [[nodiscard]] uint64_t argument(size_t n) const {
    const uint64_t arguments[] = {rdi, rsi, rdx, r10, r8, r9};
    return arguments[n];
  }
  void set_return_value(int64_t value) { rax = static_cast<uint64_t>(value); }
  [[nodiscard]] uint64_t instruction_pointer() const { return rip; }
  [[nodiscard]] uint64_t stack_pointer() const { return rsp; }
  [[nodiscard]] uint64_t frame_pointer() const { return rbp; }
};
static_assert(sizeof(TrapFrame) == 21 * 8);

}  // namespace aril::arch
