#include "drivers/acpi/power.hpp"

#include "arch/port_io.hpp"

namespace aril::acpi {
namespace {

constexpr uint16_t kSleepEnable = 1 << 13;  // PM1 control [ACPI 6.5] 4.8.3.2.1
constexpr unsigned kSleepTypeShift = 10;
constexpr uint8_t kReducedSleepEnable = 1 << 5;  // sleep control register [ACPI 6.5] 4.8.3.7
constexpr unsigned kReducedSleepTypeShift = 2;
constexpr uint16_t kSciEnable = 1;

void write_pm1(const GenericAddress& control, uint8_t type) {
  if (control.address == 0 || control.space != GenericAddress::Space::kIo) return;
  auto port = static_cast<uint16_t>(control.address);
  arch::out16(port, static_cast<uint16_t>(type << kSleepTypeShift | kSleepEnable));
}

/// The PM1 registers only work in ACPI mode, which firmware may leave to us.
void enter_acpi_mode(const FixedHardware& hardware) {
  if (hardware.smi_command_port == 0 || hardware.acpi_enable == 0) return;
  auto port = static_cast<uint16_t>(hardware.pm1a_control.address);
  if ((arch::in16(port) & kSciEnable) != 0) return;
  arch::out8(static_cast<uint16_t>(hardware.smi_command_port), hardware.acpi_enable);
  for (int i = 0; i < 1000 && (arch::in16(port) & kSciEnable) == 0; ++i) continue;
}

}  // namespace

void power_off(const PowerControl& control) {
  if (!control.has_soft_off) return;
  const FixedHardware& hardware = control.hardware;
  if (hardware.hardware_reduced) {
    auto value =
        static_cast<uint8_t>(control.soft_off.a << kReducedSleepTypeShift | kReducedSleepEnable);
    if (control.sleep_control != nullptr) {
      *control.sleep_control = static_cast<std::byte>(value);
    } else if (hardware.sleep_control.address != 0 &&
               hardware.sleep_control.space == GenericAddress::Space::kIo) {
      arch::out8(static_cast<uint16_t>(hardware.sleep_control.address), value);
    }
    return;
  }
  if (hardware.pm1a_control.address == 0 ||
      hardware.pm1a_control.space != GenericAddress::Space::kIo)
    return;
  enter_acpi_mode(hardware);
  write_pm1(hardware.pm1a_control, control.soft_off.a);
  write_pm1(hardware.pm1b_control, control.soft_off.b);
}

void reset_by_ports() {
  // The keyboard controller's pulse on the reset line.
  constexpr uint16_t kKeyboardCommand = 0x64;
  constexpr uint8_t kInputFull = 2, kPulseReset = 0xfe;
  for (int i = 0; i < 1000 && (arch::in8(kKeyboardCommand) & kInputFull) != 0; ++i) continue;
  arch::out8(kKeyboardCommand, kPulseReset);
  // The chipset's reset control register: hard reset, then trigger.
  constexpr uint16_t kResetControl = 0xcf9;
  arch::out8(kResetControl, 0x02);
  arch::out8(kResetControl, 0x06);
}

}  // namespace aril::acpi
