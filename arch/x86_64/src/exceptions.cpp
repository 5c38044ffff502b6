#include "exceptions.hpp"

#include "arch/cpu.hpp"
#include "arch/layout.hpp"
#include "arch/syscall_entry.hpp"
#include "arch/upcalls.hpp"

namespace aril::arch {
namespace {

// Exception vectors [SDM 3A 6.15].
constexpr unsigned kDebug = 1, kGeneralProtection = 13, kPageFault = 14;

struct Fixup {
  uint64_t at, resume;
};
extern "C" const Fixup __start_aril_fixups[], __stop_aril_fixups[];

/// Continues a user access routine where it handles its fault.
bool apply_fixup(TrapFrame& frame) {
  for (const Fixup* fixup = __start_aril_fixups; fixup != __stop_aril_fixups; ++fixup) {
    if (fixup->at != frame.rip) continue;
    frame.rip = fixup->resume;
    return true;
  }
  return false;
}

/// Interrupts as they were where the exception happened, for a scope.
class InterruptsAsBefore {
 public:
  explicit InterruptsAsBefore(const TrapFrame& frame) {
    if ((frame.rflags & 0x200) != 0) enable_interrupts();
  }
  ~InterruptsAsBefore() { disable_interrupts(); }
};

bool resolve_page_fault(TrapFrame& frame, uint64_t address) {
  // Above the application's range nothing is filled on demand: an access there is an error.
  if (!is_application_address(address)) return false;
  PageFault fault{
      .address = address,
      .present = (frame.error_code & 1) != 0,
      .write = (frame.error_code & 2) != 0,
      .instruction_fetch = (frame.error_code & 16) != 0,
  };
  // The kernel never executes application code on its own behalf.
  if (fault.instruction_fetch && !is_application_address(frame.rip)) return false;
  InterruptsAsBefore interrupts(frame);
  return aril_on_page_fault(frame, fault);
}

}  // namespace

void handle_exception(TrapFrame& frame, unsigned vector, uint64_t address) {
  // An application that had switched interrupts off has them on again from here.
  if (is_application_address(frame.rip)) frame.rflags |= kApplicationFlagsAlways;
  if (vector == kPageFault && resolve_page_fault(frame, address)) return;
  if (is_application_address(frame.rip)) {
    InterruptsAsBefore interrupts(frame);
    aril_on_application_exception(frame, vector, address);
    return;
  }
  if ((vector == kPageFault || vector == kGeneralProtection) && apply_fixup(frame)) return;
  if (vector == kDebug) {
    // An application that single-steps itself into the kernel through a patched call site.
    frame.rflags &= ~uint64_t{0x100};
    return;
  }
  aril_on_kernel_exception(frame, vector, address);
}

}  // namespace aril::arch
