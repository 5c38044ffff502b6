#pragma once

namespace aril::linux_abi {

/// Builds the table of system calls from the records that were linked into the image. Boot CPU,
/// once, before the first program.
void initialize_system_calls();

}  // namespace aril::linux_abi
