#pragma once
#include <cstdint>
#include <optional>

#include "arch/startup.hpp"

/// The clocks that a machine may have, each as a few functions without state of the clock proper.
namespace aril::arch {

/// A counter of known rate that the TSC is measured against. 0 hertz: there is none.
struct ReferenceCounter {
  enum class Kind : uint8_t { kNone, kAcpiTimer, kPit } kind = Kind::kNone;
  uint64_t hertz = 0;
  uint32_t mask = 0;  ///< of the bits that count
  uint16_t port = 0;
};
/// The ACPI PM timer when there is a port, else channel 2 of the PIT when it counts.
ReferenceCounter find_reference_counter(uint16_t acpi_timer_port);

/// The counter and the TSC at (nearly) the same time. Counts upward.
struct ReferenceSample {
  uint32_t count;
  uint64_t cycles;
};
ReferenceSample sample(const ReferenceCounter& counter);

/// The TSC's rate where the CPU or hypervisor says it [SDM 3B 19.7.3]; 0 when neither does.
uint64_t tsc_hertz_from_cpuid();

/// The battery-backed clock, in nanoseconds since 1970; nullopt when it shows nonsense.
std::optional<int64_t> read_cmos_clock();

/// KVM's paravirtual clock [linux/Documentation/virt/kvm/x86/msr.rst].
namespace kvm_clock {
bool is_available();
void enable_on_this_cpu();
/// Nanoseconds on KVM's own scale, the same on all CPUs.
int64_t read();
/// The TSC's rate when the host says that all TSCs run in step, so that reading the page every time
/// is not needed; 0 otherwise.
uint64_t stable_tsc_hertz();
/// Nanoseconds since 1970 at read() == 0.
int64_t wall_clock_base();
}  // namespace kvm_clock

}  // namespace aril::arch
