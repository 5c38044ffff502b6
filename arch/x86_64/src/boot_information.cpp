#include <algorithm>
#include <cstring>

#include "base/endian.hpp"
#include "base/insertion_sort.hpp"
#include "machine.hpp"

// The loader's structures are input from outside: they are only read within the first GiB, which
// is mapped, and copied before anything else uses that memory.
namespace aril::arch {
namespace {

constexpr size_t kMaxRegions = 128;
#ifdef ARIL_TINY
constexpr size_t kMaxCommandLine = 4 * 1024;
#else
constexpr size_t kMaxCommandLine = 16 * 1024;
#endif
constexpr uint64_t kMappedAtBoot = kGiB;

constinit BootInformation information{};
constinit MemoryRegion regions[kMaxRegions] = {};
constinit size_t region_count = 0;
constinit char command_line[kMaxCommandLine] = {};

/// [xen/include/public/arch-x86/hvm/start_info.h]
struct StartInfo {
  static constexpr uint32_t kMagic = 0x336ec578;
  Le<uint32_t> magic, version, flags, module_count;
  Le<uint64_t> modules, command_line, rsdp;
  Le<uint64_t> memory_map;  // version 1
  Le<uint32_t> memory_map_entries, reserved;
};
static_assert(sizeof(StartInfo) == 56);
struct StartInfoModule {
  Le<uint64_t> address, size, command_line, reserved;
};
struct StartInfoMemory {
  Le<uint64_t> address, size;
  Le<uint32_t> type, reserved;
};

/// The fields of boot_params that matter here, at their offsets [linux zero-page.rst].
struct BootParams {
  std::byte before_rsdp[0x70];
  Le<uint64_t> rsdp;  // 0x070
  std::byte before_ext[0xc0 - 0x78];
  Le<uint32_t> ext_ramdisk_image;  // 0x0c0
  Le<uint32_t> ext_ramdisk_size;   // 0x0c4
  Le<uint32_t> ext_command_line;   // 0x0c8
  std::byte before_entries[0x1e8 - 0xcc];
  uint8_t e820_entries;  // 0x1e8
  std::byte before_magic[0x202 - 0x1e9];
  Le<uint32_t> header_magic;  // 0x202
  std::byte before_ramdisk[0x218 - 0x206];
  Le<uint32_t> ramdisk_image, ramdisk_size;  // 0x218
  std::byte before_command_line[0x228 - 0x220];
  Le<uint32_t> command_line;  // 0x228
  std::byte before_e820[0x2d0 - 0x22c];
  struct Entry {
    Le<uint64_t> address, size;
    Le<uint32_t> type;
  } e820[128];  // 0x2d0
};
static_assert(sizeof(BootParams::Entry) == 20 && sizeof(BootParams) == 0x2d0 + 128 * 20);
constexpr uint32_t kHeaderMagic = 0x53726448;  // "HdrS"

/// `count` objects at a physical address, or null when they are not all within what is mapped.
template <typename T>
const T* at(PhysicalAddress address, size_t count = 1) {
  if (address == 0 || address >= kMappedAtBoot || count > (kMappedAtBoot - address) / sizeof(T))
    return nullptr;
  return reinterpret_cast<const T*>(physical_to_virtual(address));
}

/// E820 types [ACPI 6.5] Table 15.4.
void add_region(uint64_t start, uint64_t size, uint32_t type) {
  constexpr uint32_t kUsable = 1, kAcpiTables = 3, kAcpiNonVolatile = 4;
  if (size == 0 || start + size < start || region_count == kMaxRegions) return;
  uint64_t end = start + size;
  auto kind = MemoryRegion::Kind::kReserved;
  if (type == kUsable) {
    kind = MemoryRegion::Kind::kUsable;
    if (start > ~uint64_t{kPageSize}) return;
    start = align_up(start, kPageSize);
    end = align_down(end, kPageSize);
    if (start >= end) return;
  } else if (type == kAcpiTables || type == kAcpiNonVolatile) {
    kind = MemoryRegion::Kind::kAcpi;
  }
  regions[region_count++] = {start, end, kind};
}

/// Sorts, and cuts a usable region back where another one overlaps it.
void tidy_regions() {
  insertion_sort(std::span(regions, region_count),
                 [](const MemoryRegion& a, const MemoryRegion& b) { return a.start < b.start; });
  size_t kept = 0;
  for (size_t i = 0; i < region_count; ++i) {
    MemoryRegion region = regions[i];
    if (kept != 0 && regions[kept - 1].end > region.start) {
      MemoryRegion& previous = regions[kept - 1];
      if (previous.kind == MemoryRegion::Kind::kUsable &&
          region.kind != MemoryRegion::Kind::kUsable) {
        previous.end = region.start;
        if (previous.start == previous.end) --kept;
      } else {
        region.start = std::min(previous.end, region.end);
        if (region.start == region.end) continue;
      }
    }
    regions[kept++] = region;
  }
  region_count = kept;
}

std::string_view copy_command_line(PhysicalAddress address) {
  if (at<char>(address) == nullptr) return {};
  size_t limit = std::min<uint64_t>(kMaxCommandLine - 1, kMappedAtBoot - address);
  const char* text = at<char>(address, limit);
  size_t length = 0;
  while (length < limit && text[length] != '\0') ++length;
  std::memcpy(command_line, text, length);
  return {command_line, length};
}

Result<void> read_start_info(PhysicalAddress address) {
  const auto* info = at<StartInfo>(address);
  if (info == nullptr || info->magic != StartInfo::kMagic) return fail(Errno::kInval);
  information.command_line = copy_command_line(info->command_line);
  information.rsdp = info->rsdp;
  if (info->module_count != 0) {
    if (const auto* module = at<StartInfoModule>(info->modules)) {
      information.module_start = module->address;
      information.module_size = module->size;
    }
  }
  if (info->version < 1) return fail(Errno::kNoMem);
  size_t entries = std::min<size_t>(info->memory_map_entries, kMaxRegions);
  const auto* map = at<StartInfoMemory>(info->memory_map, entries);
  if (map == nullptr) return fail(Errno::kNoMem);
  for (const auto& entry : std::span(map, entries))
    add_region(entry.address, entry.size, entry.type);
  return {};
}

Result<void> read_boot_params(PhysicalAddress address) {
  const auto* params = at<BootParams>(address);
  if (params == nullptr || params->header_magic != kHeaderMagic) return fail(Errno::kInval);
  information.command_line =
      copy_command_line(uint64_t{params->ext_command_line} << 32 | params->command_line);
  information.rsdp = params->rsdp;
  information.module_start = uint64_t{params->ext_ramdisk_image} << 32 | params->ramdisk_image;
  information.module_size = uint64_t{params->ext_ramdisk_size} << 32 | params->ramdisk_size;
  size_t entries = std::min<size_t>(params->e820_entries, std::size(params->e820));
  for (const auto& entry : std::span(params->e820, entries))
    add_region(entry.address, entry.size, entry.type);
  return {};
}

}  // namespace

Result<const BootInformation*> read_boot_information(BootProtocol protocol,
                                                     PhysicalAddress address) {
  information = {.protocol = protocol};
  region_count = 0;
  ARIL_TRY(protocol == BootProtocol::kPvh ? read_start_info(address) : read_boot_params(address));
  tidy_regions();
  information.memory = std::span(regions, region_count);
  bool usable = std::any_of(regions, regions + region_count, [](const MemoryRegion& region) {
    return region.kind == MemoryRegion::Kind::kUsable;
  });
  if (!usable) return fail(Errno::kNoMem);
  // A module that wraps round is no module.
  if (information.module_size == 0 ||
      information.module_start + information.module_size < information.module_start)
    information.module_start = information.module_size = 0;
  return &information;
}

}  // namespace aril::arch
