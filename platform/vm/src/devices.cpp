#include "devices.hpp"

#include <vector>

#include "kernel/log/log.hpp"
#include "power.hpp"

namespace aril::platform {
namespace {

Devices* the_devices = nullptr;

std::vector<virtio::MmioLocation> mmio_locations(const Machine& machine) {
  std::vector<virtio::MmioLocation> locations;
  for (std::string_view option : machine.options.virtio_mmio) {
    if (auto location = virtio::parse_mmio_option(option)) {
      locations.push_back(*location);
    } else {
      ARIL_LOG_WARNING("virtio", "ignored, not SIZE@ADDRESS:IRQ: virtio_mmio.device=%.*s",
                       static_cast<int>(option.size()), option.data());
    }
  }
  const Firmware& firmware = machine.firmware;
  for (const acpi::VirtioMmioDevice& device :
       std::span(firmware.virtio).first(firmware.virtio_count)) {
    locations.push_back({
        .address = device.address,
        .size = static_cast<uint32_t>(device.size),
        .gsi = device.gsi,
        .trigger = device.level_triggered ? arch::TriggerMode::kLevel : arch::TriggerMode::kEdge,
        .polarity = device.active_low ? arch::Polarity::kActiveLow : arch::Polarity::kActiveHigh,
    });
  }
  return locations;
}

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

void start_pci(const Machine& machine, Devices& devices) {
  if (const auto& ecam = machine.firmware.ecam) {
    if (auto config = pci::ecam_config_space(ecam->base, ecam->first_bus, ecam->last_bus))
      devices.pci_config = std::move(*config);
  }
  if (!devices.pci_config) devices.pci_config = pci::port_config_space();
  if (!devices.pci_config) return;
  devices.pci_host.reset(new pci::Host{*devices.pci_config, memory_window(machine.boot)});
  devices.virtio.probe_pci(*devices.pci_host);
}

void drain_consoles() {
  constexpr Duration kLimit = Duration::milliseconds(500);
  the_devices->virtio.drain_consoles(kLimit);
}

}  // namespace

Devices& start_devices(const Machine& machine) {
  auto* devices = new Devices;
  the_devices = devices;
  devices->virtio.probe_mmio(mmio_locations(machine));
  start_pci(machine, *devices);
  set_drain(&drain_consoles);
  return *devices;
}

}  // namespace aril::platform
