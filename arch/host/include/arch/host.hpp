#pragma once
#include "base/time.hpp"

/// What only unit tests may call.
namespace aril::arch {

/// From here on monotonic_now() is what was set last, instead of the host's clock.
void host_set_time(Instant time);
void host_advance_time(Duration by);
/// From here on it is the host's clock again.
void host_release_time();

/// The deadline that the code under test armed last.
Instant host_timer_deadline();

}  // namespace aril::arch
