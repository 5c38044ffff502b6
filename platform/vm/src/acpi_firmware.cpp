#include "acpi_firmware.hpp"

#include "drivers/acpi/mp_table.hpp"
#include "drivers/acpi/power.hpp"
#include "kernel/log/log.hpp"
#include "kernel/memory/heap.hpp"
#include "memory_setup.hpp"
#include "power.hpp"

namespace aril::platform {
namespace {

constexpr const char* kComponent = "acpi";

/// For the end of the machine: lives for ever.
constinit acpi::PowerControl power_control;

void read_power(const acpi::Tables& tables, acpi::PowerControl& power) {
  Result<acpi::FixedHardware> hardware = acpi::parse_fadt(tables.table("FACP"));
  if (!hardware) return;
  power.hardware = *hardware;
  acpi::Table dsdt = tables.dsdt();
  if (!dsdt) return;
  if (auto types = acpi::find_soft_off(dsdt.body())) {
    power.soft_off = *types;
    power.has_soft_off = true;
  }
  const acpi::GenericAddress& sleep = hardware->sleep_control;
  if (sleep.address != 0 && sleep.space == acpi::GenericAddress::Space::kMemory) {
    // Mapped now: at power-off nothing may be allocated any more.
    uint64_t page = align_down(sleep.address, kPageSize);
    if (std::byte* registers = heap::map_device(page, kPageSize))
      power.sleep_control = registers + (sleep.address - page);
  }
}

}  // namespace

void read_acpi(uint64_t rsdp, Firmware& firmware) {
  Result<acpi::Tables> tables = acpi::Tables::find(rsdp, &view_physical);
  if (!tables) {
    if (auto model = acpi::find_mp_table(&view_physical)) firmware.interrupts = *model;
    ARIL_LOG_INFO(kComponent, "no ACPI tables; %zu CPUs in the MP table",
                  firmware.interrupts.cpu_count);
    return;
  }
  firmware.has_acpi = true;
  if (auto model = acpi::parse_madt(tables->table("APIC"))) firmware.interrupts = *model;
  firmware.ecam = acpi::parse_mcfg(tables->table("MCFG"));
  read_power(*tables, power_control);
  const acpi::FixedHardware& hardware = power_control.hardware;
  if (hardware.pm_timer.space == acpi::GenericAddress::Space::kIo)
    firmware.acpi_timer_port = static_cast<uint16_t>(hardware.pm_timer.address);
  firmware.has_cmos_clock = hardware.has_cmos_clock;
  set_soft_off([] { acpi::power_off(power_control); });
  if (acpi::Table dsdt = tables->dsdt())
    firmware.virtio_count = acpi::find_virtio_mmio(dsdt.body(), firmware.virtio);
  ARIL_LOG_INFO(kComponent, "%zu CPUs, %zu I/O APICs, %zu virtio-mmio slots%s",
                firmware.interrupts.cpu_count, firmware.interrupts.io_apic_count,
                firmware.virtio_count, firmware.ecam ? ", PCI Express" : "");
}

}  // namespace aril::platform
