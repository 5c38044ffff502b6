#pragma once
#include <memory>

#include "kernel/io/devices.hpp"

namespace aril::host {

/// A network interface that the tender has opened.
struct NetworkConfig {
  int descriptor;
  MacAddress address;
  uint32_t mtu;
};

/// A tap whose frames have a virtio-net header, which lets the host's kernel cut, merge and sum:
/// one host call moves up to 64 KiB. kNoMem.
Result<std::unique_ptr<NetDevice>> open_tap(const NetworkConfig& config);

/// A stream socket that carries frames, each after its length: passt's and QEMU's protocol. kNoMem.
Result<std::unique_ptr<NetDevice>> open_frame_stream(const NetworkConfig& config);

}  // namespace aril::host
