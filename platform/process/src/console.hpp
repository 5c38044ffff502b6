#pragma once

namespace aril::platform {

/// Makes the host's stderr the log's console. Log lines go there as they are; of the records
/// (base/image_abi.hpp) those for the user, without their mark; the others have no reader here.
void start_console();
/// From here on the log goes to the control line, whole and with its records.
void use_control_line(int descriptor);

}  // namespace aril::platform
