#pragma once
#include "clock.hpp"
#include "options.hpp"

namespace aril::tender {

/// Opens what an instance may use, gives up everything else, and becomes the instance
/// (base/process_abi.hpp): this process, which must have one thread. Nothing of what it was is
/// left. Ends it with status 125, after a message, when anything is wrong.
[[noreturn]] void become_instance(const Options& options, const ClockMeter& clock);

}  // namespace aril::tender
