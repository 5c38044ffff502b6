#include "arch/context.hpp"

#include <cstring>

#include "base/units.hpp"
#include "features.hpp"

extern "C" void aril_context_start();
extern "C" [[noreturn]] void aril_enter_application(const aril::arch::TrapFrame& frame);

namespace aril::arch {

void initialize_context(Context& context, std::span<std::byte> stack, void (*entry)(void*),
                        void* argument) {
  // What aril_switch_context pops, in its order, and the address that it returns to.
  struct FirstFrame {
    uint64_t r15, r14, r13, r12, rbx, rbp, return_address;
  };
  auto top = align_down(reinterpret_cast<uint64_t>(stack.data() + stack.size()), 16);
  auto* frame = reinterpret_cast<FirstFrame*>(top - sizeof(FirstFrame));
  *frame = {
      .r13 = reinterpret_cast<uint64_t>(argument),
      .r12 = reinterpret_cast<uint64_t>(entry),
      .rbp = 0,  // ends backtraces
      .return_address = reinterpret_cast<uint64_t>(&aril_context_start),
  };
  context.rsp = reinterpret_cast<uint64_t>(frame);
}

size_t fpu_state_size() { return features.fpu_state_size; }

void fpu_initialize(std::byte* area) {
  std::memset(area, 0, features.fpu_state_size);
  // FXSAVE layout [SDM 1, 10.5.1]: FCW at 0, MXCSR at 24; the defaults of a new Linux process.
  constexpr uint16_t kControlWord = 0x37f;
  constexpr uint32_t kMxcsr = 0x1f80;
  std::memcpy(area, &kControlWord, sizeof kControlWord);
  std::memcpy(area + 24, &kMxcsr, sizeof kMxcsr);
  if (features.xsave) {
    constexpr uint64_t kX87AndSse = 3;  // XSTATE_BV: those two components are in the area
    std::memcpy(area + 512, &kX87AndSse, sizeof kX87AndSse);
  }
}

// XSAVE, not XSAVEOPT: signal delivery shows the area to the application, so that every component
// must be up to date in it.
void fpu_save(std::byte* area) {
  if (features.xsave) {
    asm volatile("xsave64 (%0)" : : "r"(area), "a"(~0u), "d"(~0u) : "memory");
  } else {
    asm volatile("fxsave64 (%0)" : : "r"(area) : "memory");
  }
}

void fpu_restore(const std::byte* area) {
  if (features.xsave) {
    asm volatile("xrstor64 (%0)" : : "r"(area), "a"(~0u), "d"(~0u) : "memory");
  } else {
    asm volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
  }
}

void enter_application(const TrapFrame& frame) { aril_enter_application(frame); }

}  // namespace aril::arch
