#include "memory_setup.hpp"

#include <algorithm>
#include <array>

#include "image.hpp"
#include "kernel/log/log.hpp"
#include "kernel/memory/heap.hpp"
#include "kernel/memory/page_allocator.hpp"

namespace aril::platform {
namespace {

using arch::MemoryRegion;

/// Below lie real mode's interrupt table and the BIOS data area. What loaders leave above it (start
/// information, command line, tables of a first CPU) has been read by now.
constexpr PhysicalAddress kFirstUsable = 0x1000;
/// A machine that is to be frozen has nothing where the next one's loader will put those.
constexpr PhysicalAddress kFirstUsableOfFrozen = kMiB;
/// What boot.S mapped.
constexpr PhysicalAddress kMappedAtBoot = kGiB;
constexpr size_t kLargePage = 2 * kMiB;
constexpr size_t kMaxRanges = 136;

constinit std::span<const MemoryRegion> memory_map;

/// A list of ranges on the stack's terms: there is no heap yet.
class Ranges {
 public:
  void add(PhysicalAddress start, PhysicalAddress end) {
    if (start < end && count_ < ranges_.size()) ranges_[count_++] = {start, end};
  }
  [[nodiscard]] std::span<const PhysicalRange> all() const {
    return std::span(ranges_).first(count_);
  }

 private:
  std::array<PhysicalRange, kMaxRanges> ranges_{};
  size_t count_ = 0;
};

/// The lowest `size` free bytes that are mapped already: after whatever is in use there.
PhysicalAddress find_room(std::span<const PhysicalRange> usable,
                          std::span<const PhysicalRange> reserved, size_t size) {
  for (const PhysicalRange& range : usable) {
    PhysicalAddress at = range.start;
    for (bool moved = true; moved;) {
      moved = false;
      for (const PhysicalRange& taken : reserved) {
        if (at >= taken.end || at + size <= taken.start) continue;
        at = align_up(taken.end, kPageSize);
        moved = true;
      }
    }
    if (at + size <= std::min(range.end, kMappedAtBoot)) return at;
  }
  return 0;
}

[[noreturn]] void too_little_memory(std::span<const PhysicalRange> usable, uint64_t needed_end) {
  uint64_t total = 0;
  for (const PhysicalRange& range : usable) total += range.end - range.start;
  panic(
      "too little memory to boot: %llu KiB; the kernel and its root file system "
      "need %llu MiB in all: give the machine more (--memory)",
      static_cast<unsigned long long>(total / kKiB),
      static_cast<unsigned long long>(align_up(needed_end, kMiB) / kMiB + 2));
}

}  // namespace

void set_up_memory(const arch::BootInformation& boot) {
  memory_map = boot.memory;
  Ranges usable, reserved;
  // The command line is taken apart when there is a heap.
  bool will_freeze = boot.command_line.find(" freeze") != boot.command_line.npos;
  PhysicalAddress first = will_freeze ? kFirstUsableOfFrozen : kFirstUsable;
  for (const MemoryRegion& region : boot.memory) {
    if (region.kind == MemoryRegion::Kind::kUsable)
      usable.add(std::max(region.start, first), region.end);
  }
  arch::ImageExtent image = arch::kernel_image();
  reserved.add(image.start, image.end);
  if (PhysicalAddress trampoline = trampoline_page(boot))
    reserved.add(trampoline, trampoline + kPageSize);
  PhysicalAddress last_needed = image.end;
  if (auto root = appended_root()) {
    reserved.add(root->start, align_up(root->end, kPageSize));
    last_needed = std::max(last_needed, root->end);
  }
  if (boot.module_size != 0) {
    PhysicalAddress module_end = boot.module_start + boot.module_size;
    reserved.add(align_down(boot.module_start, kPageSize), align_up(module_end, kPageSize));
  }

  size_t pool_size = arch::direct_map_table_bytes(boot.memory);
  PhysicalAddress pool = find_room(usable.all(), reserved.all(), pool_size);
  if (pool == 0) too_little_memory(usable.all(), last_needed + pool_size);
  size_t used = 0;
  if (!arch::map_physical_memory(boot.memory, pool, pool_size, used))
    panic("the direct map needs more than the %zu bytes planned for its tables", pool_size);
  reserved.add(pool, pool + used);
  page_allocator::initialize(usable.all(), reserved.all());
  arch::PageTable::set_kernel_root(arch::boot_page_table_root());
}

arch::PhysicalAddress trampoline_page(const arch::BootInformation& boot) {
  // Not the first page, which holds what real-mode firmware may still want.
  constexpr PhysicalAddress kLowest = 0x1000, kPreferred = 0x8000, kTop = 0xa0000;
  for (PhysicalAddress from : {kPreferred, kLowest}) {
    for (const MemoryRegion& region : boot.memory) {
      if (region.kind != MemoryRegion::Kind::kUsable) continue;
      PhysicalAddress page = std::max(align_up(region.start, kPageSize), from);
      if (page + kPageSize <= std::min(region.end, kTop)) return page;
    }
  }
  return 0;
}

std::span<const std::byte> view_physical(uint64_t address, size_t size) {
  if (address + size < address) return {};
  uint64_t end = address + size;
  bool mapped = end <= kMappedAtBoot;
  for (const MemoryRegion& region : memory_map) {
    // The direct map consists of large pages: the rest of the last one is there too.
    if (region.kind != MemoryRegion::Kind::kReserved)
      mapped |= address >= region.start && end <= align_up(region.end, kLargePage);
  }
  if (mapped) return {arch::physical_to_virtual(address), size};
  uint64_t start = align_down(address, kPageSize);
  std::byte* view = heap::map_device(start, align_up(end, kPageSize) - start);
  if (view == nullptr) return {};
  return {view + (address - start), size};
}

}  // namespace aril::platform
