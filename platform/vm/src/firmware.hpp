#pragma once
#include <array>
#include <optional>

#include "arch/startup.hpp"
#include "drivers/acpi/namespace_scan.hpp"
#include "drivers/acpi/tables.hpp"

namespace aril::platform {

/// What ACPI says about this machine; without ACPI, a PC's defaults. Read once at boot.
struct Firmware {
  acpi::InterruptModel interrupts;  ///< no CPUs and I/O APICs when there is no MADT
  uint16_t acpi_timer_port = 0;     ///< 0: none
  bool has_cmos_clock = true;
  std::optional<acpi::PciEcam> ecam;
  static constexpr size_t kMaxVirtio = 32;
  std::array<acpi::VirtioMmioDevice, kMaxVirtio> virtio{};
  size_t virtio_count = 0;
  bool has_acpi = false;
};

/// `rsdp` 0: searched for. Also prepares how the machine is turned off.
void read_firmware(uint64_t rsdp, Firmware& firmware);

/// Local APIC and I/O APICs as the firmware describes them. Panics when they cannot be mapped.
void set_up_interrupts(const Firmware& firmware);

}  // namespace aril::platform
