#pragma once
#include "base/time.hpp"
#include "drivers/acpi/power.hpp"

namespace aril::platform {

/// Makes stop_machine (kernel/log) turn this machine off; until set_power_control, by reset only.
void start_power();
void set_power_control(const acpi::PowerControl& control);
/// Called before the power goes: output that is still on its way to the host.
void set_drain(void (*drain)());

}  // namespace aril::platform
