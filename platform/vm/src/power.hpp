#pragma once
#include "base/time.hpp"

namespace aril::platform {

/// Makes stop_machine (kernel/log) turn this machine off; by reset where set_soft_off's does not.
void start_power();
/// Turns the machine off, or returns. Any context, interrupts disabled.
void set_soft_off(void (*soft_off)());
/// Called before the power goes: output that is still on its way to the host.
void set_drain(void (*drain)());

}  // namespace aril::platform
