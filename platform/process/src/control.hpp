#pragma once
#include <cstdint>

namespace aril::platform {

/// Starts the thread that passes on to the program what the host says to this process: its signals,
/// and the end of its standard input. After the program has started.
void start_control();

/// The standard input ended after `count` bytes in all. Thread context.
void end_input(uint64_t count);

}  // namespace aril::platform
