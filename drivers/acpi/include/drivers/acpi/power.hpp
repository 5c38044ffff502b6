#pragma once
#include "drivers/acpi/namespace_scan.hpp"
#include "drivers/acpi/tables.hpp"

namespace aril::acpi {

/// How this machine is turned off.
struct PowerControl {
  FixedHardware hardware;
  SleepTypes soft_off;
  bool has_soft_off = false;
  /// The sleep control register, mapped, when it is in memory.
  volatile std::byte* sleep_control = nullptr;
};

/// Turns the machine off through ACPI; returns when that has no effect (or there is no ACPI). Any
/// context, interrupts disabled.
void power_off(const PowerControl& control);
/// The resets that QEMU's -no-reboot turns into an end: keyboard controller, port 0xcf9.
void reset_by_ports();

}  // namespace aril::acpi
