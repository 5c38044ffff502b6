#include "drivers/acpi/mp_table.hpp"

#include <cstring>

#include "table_bytes.hpp"

namespace aril::acpi {
namespace {

constexpr size_t kPointerSize = 16, kHeaderSize = 44;

/// The physical address of the configuration table; 0 when no pointer to one is found.
uint64_t find_pointer(PhysicalView view) {
  auto scan = [&](uint64_t start, size_t size) -> uint64_t {
    std::span<const std::byte> area = view(start, size);
    for (size_t at = 0; at + kPointerSize <= area.size(); at += 16) {
      std::span<const std::byte> pointer = area.subspan(at, kPointerSize);
      if (has_signature(pointer, "_MP_", 4) && checksum_is_zero(pointer))
        return field<uint32_t>(pointer, 4);
    }
    return 0;
  };
  // The last KiB of conventional memory, or the extended BIOS data area there; then the ROM.
  if (uint64_t found = scan(0x9fc00, 1024)) return found;
  return scan(0xf0000, 0x10000);
}

}  // namespace

Result<InterruptModel> find_mp_table(PhysicalView view) {
  uint64_t address = find_pointer(view);
  if (address == 0) return fail(Errno::kNoEnt);
  size_t length = field<uint16_t>(view(address, kHeaderSize), 4);
  if (length < kHeaderSize) return fail(Errno::kBadMsg);
  std::span<const std::byte> table = view(address, length);
  if (!has_signature(table, "PCMP", 4) || !checksum_is_zero(table)) return fail(Errno::kBadMsg);

  InterruptModel model;
  model.has_legacy_pic = true;
  model.local_apic = field<uint32_t>(table, 36);
  constexpr uint8_t kProcessor = 0, kIoApic = 2;
  constexpr size_t kProcessorSize = 20, kOtherSize = 8;
  for (size_t at = kHeaderSize; at < table.size();) {
    auto type = field<uint8_t>(table, at);
    size_t size = type == kProcessor ? kProcessorSize : kOtherSize;
    if (size > table.size() - at) break;
    std::span<const std::byte> entry = table.subspan(at, size);
    at += size;
    bool enabled = (field<uint8_t>(entry, 3) & 1) != 0;
    if (!enabled) continue;
    if (type == kProcessor && model.cpu_count < InterruptModel::kMaxCpus) {
      model.cpus[model.cpu_count++] = field<uint8_t>(entry, 1);
    } else if (type == kIoApic && model.io_apic_count < InterruptModel::kMaxIoApics) {
      // Their lines follow one another in the table's order; each has at most 24.
      auto first = static_cast<uint32_t>(model.io_apic_count * 24);
      model.io_apics[model.io_apic_count++] = {field<uint32_t>(entry, 4), first};
    }
  }
  return model;
}

}  // namespace aril::acpi
