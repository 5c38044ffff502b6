#include "platform/common/boot_part.hpp"
#include "start_up.hpp"

namespace aril::platform {
namespace {

/// Addresses below 4 GiB that nothing uses: after the end of RAM, before the chipset's registers.
pci::MemoryWindow memory_window(const arch::BootInformation& boot) {
  constexpr PhysicalAddress kWindowEnd = 0xfe00'0000, kWindowSize = 0x1000'0000;
  PhysicalAddress start = kWindowEnd - kWindowSize;
  for (const arch::MemoryRegion& region : boot.memory) {
    if (region.start < kWindowEnd && region.end > start) start = region.end;
  }
  if (start >= kWindowEnd) return {};
  return pci::MemoryWindow({start, kWindowEnd});
}

void probe_pci(Boot&) {
  VirtualMachine& machine = virtual_machine();
  Devices& devices = machine.devices;
  if (const auto& ecam = machine.firmware.ecam) {
    if (auto config = pci::ecam_config_space(ecam->base, ecam->first_bus, ecam->last_bus))
      devices.pci_config = std::move(*config);
  }
  if (!devices.pci_config) devices.pci_config = pci::port_config_space();
  if (!devices.pci_config) return;
  devices.pci_host.reset(new pci::Host{*devices.pci_config, memory_window(machine.boot)});
  devices.virtio.probe_pci(*devices.pci_host);
}

ARIL_MACHINE_PART(210, pci, probe_pci);

}  // namespace
}  // namespace aril::platform
