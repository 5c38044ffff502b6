#include "firmware.hpp"

#include "acpi_firmware.hpp"
#include "kernel/log/log.hpp"
#include "kernel/memory/heap.hpp"

namespace aril::platform {
void read_firmware(uint64_t rsdp, Firmware& firmware) {
  if (read_acpi != nullptr) read_acpi(rsdp, firmware);
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
