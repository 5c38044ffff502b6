#pragma once
#include "drivers/serial/serial_port.hpp"

namespace aril::platform {

/// COM1: log lines and records to the host, commands from it (base/image_abi.hpp).
SerialPort& control_port();

/// Makes COM1 the log's console.
void start_console();

}  // namespace aril::platform
