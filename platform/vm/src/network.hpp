#pragma once
#include "command_line.hpp"
#include "drivers/virtio/device_set.hpp"
#include "net/runtime/runtime.hpp"

namespace aril::platform {

/// The TCP/IP stack over every network device, configured as the options say. Without a device
/// there is loopback.
net::Runtime& start_network(const KernelOptions& options, const virtio::DeviceSet& devices);

}  // namespace aril::platform
