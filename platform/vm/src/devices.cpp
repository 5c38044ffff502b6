#include <vector>

#include "kernel/log/log.hpp"
#include "platform/common/boot_part.hpp"
#include "power.hpp"
#include "start_up.hpp"

namespace aril::platform {
namespace {

std::vector<virtio::MmioLocation> mmio_locations(const VirtualMachine& machine) {
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

void drain_consoles() {
  constexpr Duration kLimit = Duration::milliseconds(500);
  virtual_machine().devices.virtio.drain_consoles(kLimit);
}

void probe_mmio(Boot&) {
  VirtualMachine& machine = virtual_machine();
  machine.devices.virtio.probe_mmio(mmio_locations(machine));
  set_drain(&drain_consoles);
}
ARIL_MACHINE_PART(200, mmio, probe_mmio);

}  // namespace
}  // namespace aril::platform
