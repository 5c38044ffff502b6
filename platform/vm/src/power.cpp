#include "power.hpp"

#include <atomic>

#include "arch/cpu.hpp"
#include "arch/startup.hpp"
#include "drivers/acpi/power.hpp"
#include "kernel/log/log.hpp"

namespace aril::platform {
namespace {

constinit std::atomic<void (*)()> turn_off{nullptr};
constinit std::atomic<void (*)()> drain_output{nullptr};

void power_off(int) {
  arch::disable_interrupts();
  if (auto drain = drain_output.load(std::memory_order_relaxed)) drain();
  if (auto soft_off = turn_off.load(std::memory_order_relaxed)) soft_off();
  acpi::reset_by_ports();
  arch::triple_fault();
}

}  // namespace

void start_power() { set_machine_stop(&power_off); }
void set_soft_off(void (*soft_off)()) { turn_off = soft_off; }
void set_drain(void (*drain)()) { drain_output = drain; }

}  // namespace aril::platform
