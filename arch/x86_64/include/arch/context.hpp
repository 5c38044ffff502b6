#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "arch/trap_frame.hpp"

namespace aril::arch {

/// What a thread that is not running keeps: its kernel stack pointer. The callee-saved registers
/// are on that stack.
struct Context {
  uint64_t rsp = 0;
};

/// Prepares `context` so that the first switch to it calls entry(argument) on `stack` with
/// interrupts disabled. `entry` never returns.
void initialize_context(Context& context, std::span<std::byte> stack, void (*entry)(void*),
                        void* argument);

/// Saves the caller in `from` and continues `to`. Interrupts disabled.
extern "C" void aril_switch_context(Context* from, Context* to);

/// Bytes and alignment of the SIMD/FPU save area on this machine (XSAVE standard format when
/// there is XSAVE [SDM 1 13.4], else FXSAVE), known after arch start-up.
size_t fpu_state_size();
/// What AT_HWCAP tells programs: CPUID leaf 1, EDX.
uint64_t hardware_capabilities();
inline constexpr size_t kFpuStateAlignment = 64;
/// Writes the state that a new program starts with.
void fpu_initialize(std::byte* area);
void fpu_save(std::byte* area);
void fpu_restore(const std::byte* area);

/// The application's thread pointer (FS base).
uint64_t thread_pointer();
void set_thread_pointer(uint64_t value);

/// Starts or continues application code with the registers in `frame`; leaves the kernel stack.
/// Checks nothing: the caller has handled signals and rescheduling. Interrupts disabled.
[[noreturn]] void enter_application(const TrapFrame& frame);

}  // namespace aril::arch
