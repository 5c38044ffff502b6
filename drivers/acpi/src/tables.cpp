#include "drivers/acpi/tables.hpp"

#include <algorithm>
#include <cstring>

#include "table_bytes.hpp"

namespace aril::acpi {
namespace {

constexpr size_t kHeaderSize = 36;
/// No real table is larger; a length beyond it is a lie.
constexpr size_t kMaxTableSize = 1 << 20;

constexpr char kRsdpSignature[] = "RSD PTR ";
constexpr size_t kRsdpSignatureSize = 8, kRsdpV1Size = 20, kRsdpV2Size = 36;

bool is_rsdp(std::span<const std::byte> bytes) {
  return bytes.size() >= kRsdpV1Size && has_signature(bytes, kRsdpSignature, kRsdpSignatureSize) &&
         checksum_is_zero(bytes.first(kRsdpV1Size));
}

/// [ACPI 6.5] 5.2.5.1: on 16-byte boundaries in the first KiB of the EBDA or in the BIOS area.
uint64_t scan_for_rsdp(PhysicalView view) {
  auto scan = [&](uint64_t start, size_t size) -> uint64_t {
    std::span<const std::byte> area = view(start, size);
    for (size_t at = 0; at + kRsdpV1Size <= area.size(); at += 16) {
      if (is_rsdp(area.subspan(at, kRsdpV1Size))) return start + at;
    }
    return 0;
  };
  constexpr uint64_t kEbdaPointer = 0x40e;
  uint64_t ebda = uint64_t{field<uint16_t>(view(kEbdaPointer, 2), 0)} << 4;
  if (ebda >= 0x80000 && ebda < 0xa0000) {
    if (uint64_t found = scan(ebda, 1024)) return found;
  }
  return scan(0xe0000, 0x20000);
}

GenericAddress read_generic_address(std::span<const std::byte> bytes, size_t offset) {
  auto space = field<uint8_t>(bytes, offset);
  // Only memory and I/O registers can be used from here.
  if (space > 1) return {};
  return {static_cast<GenericAddress::Space>(space), field<uint8_t>(bytes, offset + 1),
          field<uint64_t>(bytes, offset + 4)};
}

}  // namespace

Result<Tables> Tables::find(uint64_t rsdp, PhysicalView view) {
  if (rsdp == 0) rsdp = scan_for_rsdp(view);
  if (rsdp == 0) return fail(Errno::kNoEnt);
  std::span<const std::byte> bytes = view(rsdp, kRsdpV1Size);
  if (!is_rsdp(bytes)) return fail(Errno::kBadMsg);
  constexpr size_t kRevision = 15, kRsdt = 16, kXsdt = 24;
  bool wide = field<uint8_t>(bytes, kRevision) >= 2;
  uint64_t root_address = field<uint32_t>(bytes, kRsdt);
  if (wide) {
    std::span<const std::byte> long_form = view(rsdp, kRsdpV2Size);
    uint64_t xsdt = field<uint64_t>(long_form, kXsdt);
    if (xsdt != 0) {
      root_address = xsdt;
    } else {
      wide = false;
    }
  }
  Tables tables({}, wide, view);
  Table root = tables.at(root_address);
  if (!root || !has_signature(root.bytes(), wide ? "XSDT" : "RSDT", 4)) return fail(Errno::kBadMsg);
  tables.root_ = root.body();
  return tables;
}

Table Tables::at(uint64_t address) const {
  if (address == 0) return {};
  constexpr size_t kLength = 4;
  size_t length = field<uint32_t>(view_(address, kHeaderSize), kLength);
  if (length < kHeaderSize || length > kMaxTableSize) return {};
  std::span<const std::byte> bytes = view_(address, length);
  if (bytes.size() != length || !checksum_is_zero(bytes)) return {};
  return Table(bytes);
}

Table Tables::table(const char (&signature)[5]) const {
  size_t entry_size = wide_ ? 8 : 4;
  for (size_t at_entry = 0; at_entry + entry_size <= root_.size(); at_entry += entry_size) {
    uint64_t address = wide_ ? field<uint64_t>(root_, at_entry) : field<uint32_t>(root_, at_entry);
    if (!has_signature(view_(address, kHeaderSize), signature, 4)) continue;
    if (Table found = at(address)) return found;
  }
  return {};
}

Table Tables::dsdt() const {
  Result<FixedHardware> hardware = parse_fadt(table("FACP"));
  if (!hardware) return {};
  Table found = at(hardware->dsdt);
  if (!found || !has_signature(found.bytes(), "DSDT", 4)) return {};
  return found;
}

Result<InterruptModel> parse_madt(const Table& madt) {
  if (!madt || madt.body().size() < 8) return fail(Errno::kNoEnt);
  std::span<const std::byte> body = madt.body();
  InterruptModel model;
  model.local_apic = field<uint32_t>(body, 0);
  model.has_legacy_pic = (field<uint32_t>(body, 4) & 1) != 0;

  constexpr uint32_t kEnabled = 1;
  auto add_cpu = [&](uint32_t apic_id, uint32_t flags) {
    if ((flags & kEnabled) != 0 && model.cpu_count < InterruptModel::kMaxCpus)
      model.cpus[model.cpu_count++] = apic_id;
  };
  for (size_t at = 8; at + 2 <= body.size();) {
    auto type = field<uint8_t>(body, at);
    size_t length = field<uint8_t>(body, at + 1);
    if (length < 2 || length > body.size() - at) break;
    std::span<const std::byte> entry = body.subspan(at, length);
    at += length;
    switch (type) {
      case 0:  // processor local APIC
        if (length >= 8) add_cpu(field<uint8_t>(entry, 3), field<uint32_t>(entry, 4));
        break;
      case 1:  // I/O APIC
        if (length >= 12 && model.io_apic_count < InterruptModel::kMaxIoApics)
          model.io_apics[model.io_apic_count++] = {field<uint32_t>(entry, 4),
                                                   field<uint32_t>(entry, 8)};
        break;
      case 2: {  // interrupt source override; flags as in [ACPI 6.5] Table 5.27
        if (length < 10 || model.override_count == InterruptModel::kMaxOverrides) break;
        auto flags = field<uint16_t>(entry, 8);
        model.overrides[model.override_count++] = {field<uint8_t>(entry, 3),
                                                   field<uint32_t>(entry, 4), (flags >> 2 & 3) == 3,
                                                   (flags & 3) == 3};
        break;
      }
      case 5:  // local APIC address override
        if (length >= 12) model.local_apic = field<uint64_t>(entry, 4);
        break;
      case 9:  // processor local x2APIC
        if (length >= 16) add_cpu(field<uint32_t>(entry, 4), field<uint32_t>(entry, 8));
        break;
      default:
        break;
    }
  }
  return model;
}

Result<FixedHardware> parse_fadt(const Table& fadt) {
  if (!fadt) return fail(Errno::kNoEnt);
  std::span<const std::byte> bytes = fadt.bytes();
  FixedHardware hardware;
  auto flags = field<uint32_t>(bytes, 112);
  auto boot_flags = field<uint16_t>(bytes, 109);
  auto revision = field<uint8_t>(bytes, 8);
  hardware.hardware_reduced = (flags >> 20 & 1) != 0;
  if (revision >= 2) {
    hardware.has_keyboard_controller = (boot_flags >> 1 & 1) != 0;
    hardware.has_cmos_clock = (boot_flags >> 5 & 1) == 0;
  }
  hardware.dsdt = field<uint64_t>(bytes, 140);
  if (hardware.dsdt == 0) hardware.dsdt = field<uint32_t>(bytes, 40);
  hardware.smi_command_port = field<uint32_t>(bytes, 48);
  hardware.acpi_enable = field<uint8_t>(bytes, 52);

  auto register_or_port = [&](size_t generic_offset, size_t port_offset) {
    GenericAddress address = read_generic_address(bytes, generic_offset);
    if (address.address == 0)
      address = {GenericAddress::Space::kIo, 16, field<uint32_t>(bytes, port_offset)};
    return address;
  };
  if (!hardware.hardware_reduced) {
    hardware.pm1a_control = register_or_port(172, 64);
    hardware.pm1b_control = register_or_port(184, 68);
    hardware.pm_timer = register_or_port(208, 76);
  }
  constexpr uint32_t kResetSupported = 1u << 10;
  if ((flags & kResetSupported) != 0) {
    hardware.reset_register = read_generic_address(bytes, 116);
    hardware.reset_value = field<uint8_t>(bytes, 128);
  }
  hardware.sleep_control = read_generic_address(bytes, 244);
  return hardware;
}

std::optional<PciEcam> parse_mcfg(const Table& mcfg) {
  if (!mcfg) return std::nullopt;
  std::span<const std::byte> body = mcfg.body();
  constexpr size_t kReserved = 8, kEntrySize = 16;
  for (size_t at = kReserved; at + kEntrySize <= body.size(); at += kEntrySize) {
    PciEcam ecam{field<uint64_t>(body, at), field<uint16_t>(body, at + 8),
                 field<uint8_t>(body, at + 10), field<uint8_t>(body, at + 11)};
    if (ecam.segment == 0 && ecam.base != 0 && ecam.first_bus <= ecam.last_bus) return ecam;
  }
  return std::nullopt;
}

}  // namespace aril::acpi
