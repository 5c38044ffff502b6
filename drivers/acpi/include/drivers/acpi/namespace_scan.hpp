#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

/// What Aril needs of the DSDT without an AML interpreter: constants that firmware for virtual
/// machines writes as plain packages and buffers [ACPI 6.5] 20.2. Bounds-checked; finds nothing in
/// bytes that it does not understand.
namespace aril::acpi {

/// The S5 package's sleep types, to be written to the PM1 control registers.
struct SleepTypes {
  uint8_t a = 0, b = 0;
};
std::optional<SleepTypes> find_soft_off(std::span<const std::byte> aml);

/// A virtio-mmio device (hardware id LNRO0005) with its _CRS.
struct VirtioMmioDevice {
  uint64_t address = 0;
  uint64_t size = 0;
  uint32_t gsi = 0;
  bool level_triggered = false;
  bool active_low = false;
};
/// Fills `out`, returns how many there are (at most out.size()).
size_t find_virtio_mmio(std::span<const std::byte> aml, std::span<VirtioMmioDevice> out);

}  // namespace aril::acpi
