#pragma once
#include <array>
#include <optional>

#include "arch/startup.hpp"
#include "drivers/acpi/namespace_scan.hpp"
#include "drivers/acpi/power.hpp"
#include "drivers/acpi/tables.hpp"

namespace aril::platform {

/// What ACPI says about this machine; without ACPI, a PC's defaults. Read once at boot.
struct Firmware {
  acpi::InterruptModel interrupts;  ///< no CPUs and I/O APICs when there is no MADT
  acpi::PowerControl power;
  std::optional<acpi::PciEcam> ecam;
  static constexpr size_t kMaxVirtio = 32;
  std::array<acpi::VirtioMmioDevice, kMaxVirtio> virtio{};
  size_t virtio_count = 0;
  bool has_acpi = false;
};

/// `rsdp` 0: searched for.
void read_firmware(uint64_t rsdp, Firmware& firmware);

/// Local APIC and I/O APICs as the firmware describes them. Panics when they cannot be mapped.
void set_up_interrupts(const Firmware& firmware);

}  // namespace aril::platform
