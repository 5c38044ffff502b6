#pragma once
#include <cstdint>

#include "base/time.hpp"

namespace aril::arch {

/// Time from the best source this machine has, chosen at start-up without a calibration wait:
/// kvmclock, else the TSC at the rate that CPUID or the `tsc_khz=` option tells, else the TSC
/// against a short look at the PIT or ACPI timer, refined later.
/// Monotonic over CPUs; any context.
Instant monotonic_now();

/// Nanoseconds since 1970 at monotonic zero (kvmclock or the CMOS clock), read once at start-up.
int64_t boot_wall_clock_ns();

/// Arms this CPU's one-shot timer; replaces an earlier deadline. Instant::never() disarms.
/// A deadline in the past fires at once. Interrupts disabled.
void set_timer(Instant deadline);

/// cycles() per second as now known; for the vDSO: ns = ((cycles - base) * multiplier) >> shift.
struct CycleScale {
  uint64_t base_cycles;
  int64_t base_ns;
  uint32_t multiplier;
  uint32_t shift;
  /// False when monotonic_now() does not come from cycles(), so that the vDSO must make the call.
  bool usable;
};
CycleScale cycle_scale();

}  // namespace aril::arch
