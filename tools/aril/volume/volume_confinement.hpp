#pragma once

// What a volume's server (volume_process.hpp) gives up before it reads a guest's first message.
// Each ends the process with a message on stderr when the host refuses.
namespace aril::tool {

/// From here on paths end at `directory`, which is open: by chroot, with the five capabilities that
/// acting for the guest's users takes, for root; by Landlock for others, where the host has it (ABI
/// 2). Programs gain nothing by exec.
void confine_to_directory(int directory);

/// From here on any system call that serving does not need kills the process.
void allow_only_serving();

/// Ends the process unless `done`, with what failed, and errno.
void need(bool done, const char* what);

}  // namespace aril::tool
