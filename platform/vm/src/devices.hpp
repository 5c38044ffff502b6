#pragma once
#include <memory>

#include "drivers/pci/pci.hpp"
#include "drivers/virtio/device_set.hpp"

namespace aril::platform {

/// The devices of this machine. Lives for ever.
struct Devices {
  virtio::DeviceSet virtio;
  std::unique_ptr<pci::ConfigSpace> pci_config;
  std::unique_ptr<pci::Host> pci_host;
};

}  // namespace aril::platform
