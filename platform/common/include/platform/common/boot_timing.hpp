#pragma once

namespace aril::platform {

/// Notes that a step of the boot has ended now, for `aril run --boot-timing`; `name` lives for
/// ever. By the boot CPU, from the first C++ code until the program starts. What does not fit any
/// more is left out.
void note_boot_step(const char* name);

}  // namespace aril::platform
