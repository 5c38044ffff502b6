#include "power.hpp"

#include <atomic>

#include "arch/cpu.hpp"
#include "arch/startup.hpp"
#include "kernel/log/log.hpp"

namespace aril::platform {
namespace {

constinit std::atomic<const acpi::PowerControl*> power_control{nullptr};
constinit std::atomic<void (*)()> drain_output{nullptr};

void power_off(int) {
  arch::disable_interrupts();
  if (auto drain = drain_output.load(std::memory_order_relaxed)) drain();
  if (const auto* control = power_control.load(std::memory_order_relaxed))
    acpi::power_off(*control);
  acpi::reset_by_ports();
  arch::triple_fault();
}

}  // namespace

void start_power() { set_machine_stop(&power_off); }
void set_power_control(const acpi::PowerControl& control) { power_control = &control; }
void set_drain(void (*drain)()) { drain_output = drain; }

}  // namespace aril::platform
