#pragma once
#include "base/time.hpp"

namespace aril::platform {

/// Notes that a step of the boot has ended now, for `aril run --boot-timing`; `name` lives for
/// ever. By the boot CPU, from the first C++ code until the program starts. What does not fit any
/// more is left out.
void note_boot_step(const char* name);

/// Those noted so far were another machine's; this one's clock began with `start`.
void restart_boot_steps(Instant start);

}  // namespace aril::platform
