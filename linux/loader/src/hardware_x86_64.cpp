#include <cpuid.h>

#include "arch/context.hpp"
#include "initial_stack.hpp"

namespace aril::linux_abi {

uint64_t hardware_capabilities() {
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 ? d : 0;
}

uint64_t minimum_signal_stack() {
  // ucontext, siginfo, alignment and red zone, beside the SIMD state.
  constexpr uint64_t kFrame = 1024;
  return arch::fpu_state_size() + kFrame;
}

}  // namespace aril::linux_abi
