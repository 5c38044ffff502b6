#pragma once
#include <string>

namespace aril::tool {

/// A tiny PVH kernel: it counts to two million and then resets the machine. With QEMU's -no-reboot
/// this shows how fast an accelerator really executes code.
std::string probe_image();

}  // namespace aril::tool
