#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/result.hpp"

/// The firmware's static tables [ACPI 6.5] 5.2, read with every length checked: they are input
/// from outside. Nothing here allocates; tables stay in the memory that the firmware put them in.
namespace aril::acpi {

/// Gives access to `size` bytes of physical memory, valid for ever; empty when it cannot.
using PhysicalView = std::span<const std::byte> (*)(uint64_t address, size_t size);

/// A table with its header; length and checksum are verified.
class Table {
 public:
  Table() = default;
  explicit Table(std::span<const std::byte> bytes) : bytes_(bytes) {}
  explicit operator bool() const { return !bytes_.empty(); }
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }
  /// What follows the 36-byte header.
  [[nodiscard]] std::span<const std::byte> body() const { return bytes_.subspan(36); }

 private:
  std::span<const std::byte> bytes_;
};

/// Finds tables through the RSDP.
class Tables {
 public:
  /// `rsdp` 0: searches the BIOS areas. kNoEnt when there is no ACPI; kBadMsg when it is broken.
  static Result<Tables> find(uint64_t rsdp, PhysicalView view);
  /// The first table with this signature ("APIC"); empty when there is none or it is broken.
  [[nodiscard]] Table table(const char (&signature)[5]) const;
  /// The DSDT, through the FADT.
  [[nodiscard]] Table dsdt() const;

 private:
  Tables(std::span<const std::byte> root, bool wide, PhysicalView view)
      : root_(root), wide_(wide), view_(view) {}
  [[nodiscard]] Table at(uint64_t address) const;
  std::span<const std::byte> root_;
  bool wide_;
  PhysicalView view_;
};

/// Interrupt controllers and CPUs, from the MADT [ACPI 6.5] 5.2.12.
struct InterruptModel {
  static constexpr size_t kMaxCpus = 64, kMaxIoApics = 8, kMaxOverrides = 16;
  struct IoApic {
    uint64_t address;
    uint32_t first_gsi;
  };
  struct Override {
    uint8_t line;
    uint32_t gsi;
    bool level_triggered, active_low;
  };
  uint64_t local_apic = 0;
  bool has_legacy_pic = false;
  size_t cpu_count = 0, io_apic_count = 0, override_count = 0;
  uint32_t cpus[kMaxCpus] = {};  ///< local APIC ids of enabled CPUs
  IoApic io_apics[kMaxIoApics] = {};
  Override overrides[kMaxOverrides] = {};
};
Result<InterruptModel> parse_madt(const Table& madt);

/// A register wherever it is [ACPI 6.5] 5.2.3.2.
struct GenericAddress {
  enum class Space : uint8_t { kMemory = 0, kIo = 1 } space = Space::kIo;
  uint8_t width_bits = 0;
  uint64_t address = 0;  ///< 0: there is no such register
};

/// Fixed hardware, from the FADT [ACPI 6.5] 5.2.9.
struct FixedHardware {
  bool hardware_reduced = false;
  bool has_cmos_clock = true;
  bool has_keyboard_controller = true;
  uint64_t dsdt = 0;
  GenericAddress pm1a_control, pm1b_control;
  GenericAddress pm_timer;
  GenericAddress sleep_control;
  GenericAddress reset_register;
  uint8_t reset_value = 0;
  uint32_t smi_command_port = 0;
  uint8_t acpi_enable = 0;
};
Result<FixedHardware> parse_fadt(const Table& fadt);

/// A PCI segment's memory-mapped configuration space, from the MCFG [PCI Firmware 3.2] 4.1.2.
struct PciEcam {
  uint64_t base = 0;
  uint16_t segment = 0;
  uint8_t first_bus = 0, last_bus = 0;
};
/// The one of segment 0.
std::optional<PciEcam> parse_mcfg(const Table& mcfg);

}  // namespace aril::acpi
