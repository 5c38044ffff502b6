#pragma once
#include "devices.hpp"
#include "fs/vfs/mount.hpp"
#include "net/runtime/runtime.hpp"
#include "start_up.hpp"

namespace aril::platform {

/// Starts the image's program: what /.aril/boot and the command line say, with its standard files
/// on the consoles. Its end ends the machine.
void run_program(const Machine& machine, Devices& devices, net::Runtime& network,
                 vfs::MountTree& mounts);

}  // namespace aril::platform
