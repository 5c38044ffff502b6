#include "firmware.hpp"

#include "drivers/acpi/mp_table.hpp"
#include "kernel/log/log.hpp"
#include "kernel/memory/heap.hpp"
#include "memory_setup.hpp"

namespace aril::platform {
namespace {

constexpr const char* kComponent = "acpi";

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

void read_firmware(uint64_t rsdp, Firmware& firmware) {
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
  read_power(*tables, firmware.power);
  if (acpi::Table dsdt = tables->dsdt())
    firmware.virtio_count = acpi::find_virtio_mmio(dsdt.body(), firmware.virtio);
  ARIL_LOG_INFO(kComponent, "%zu CPUs, %zu I/O APICs, %zu virtio-mmio slots%s",
                firmware.interrupts.cpu_count, firmware.interrupts.io_apic_count,
                firmware.virtio_count, firmware.ecam ? ", PCI Express" : "");
}

void set_up_interrupts(const Firmware& firmware) {
  const acpi::InterruptModel& model = firmware.interrupts;
  std::array<arch::InterruptConfig::IoApic, acpi::InterruptModel::kMaxIoApics> io_apics;
  std::array<arch::InterruptConfig::IsaOverride, acpi::InterruptModel::kMaxOverrides> overrides;
  for (size_t i = 0; i < model.io_apic_count; ++i)
    io_apics[i] = {model.io_apics[i].address, model.io_apics[i].first_gsi};
  for (size_t i = 0; i < model.override_count; ++i) {
    const auto& entry = model.overrides[i];
    overrides[i] = {entry.line, entry.gsi, entry.level_triggered, entry.active_low};
  }
  arch::InterruptConfig config{
      .io_apics = std::span(io_apics).first(model.io_apic_count),
      .isa_overrides = std::span(overrides).first(model.override_count),
      .has_legacy_pic = !firmware.has_acpi || model.has_legacy_pic,
      .map_device = &heap::map_device,
  };
  if (model.local_apic != 0) config.local_apic = model.local_apic;
  if (!arch::initialize_interrupts(config)) panic("the interrupt controllers cannot be mapped");
}

}  // namespace aril::platform
