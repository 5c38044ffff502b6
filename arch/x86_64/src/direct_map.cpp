#include <algorithm>
#include <cstring>

#include "machine.hpp"

extern "C" {
extern uint64_t boot_pml4[512], boot_pdpt_direct[512], boot_pdpt_image[512], boot_pd[512];
extern std::byte aril_image_start[], aril_text_end[], aril_rodata_end[], aril_image_end[];
extern std::byte aril_boot_stack_guard[];
}

namespace aril::arch {
namespace {

// Entry bits [SDM 3A 4.5.4].
constexpr uint64_t kPresent = 1, kWritable = 2, kLarge = 0x80, kGlobalBit = 0x100,
                   kNoExecute = uint64_t{1} << 63;
constexpr uint64_t kTableBits = kPresent | kWritable;
constexpr uint64_t kAddressMask = 0x000f'ffff'ffff'f000;
constexpr uint64_t kLargePage = 2 * kMiB;
constexpr size_t kImageTop = 510;  ///< the image's entry in its page-directory-pointer table

/// Zeroed pages for tables, in the part of RAM that is mapped already.
class TablePool {
 public:
  TablePool(PhysicalAddress start, size_t size) : start_(start), size_(size) {}
  /// The table's physical address; 0 when the pool is empty.
  PhysicalAddress take() {
    if (size_ - used_ < kPageSize) return 0;
    PhysicalAddress page = start_ + used_;
    used_ += kPageSize;
    std::memset(physical_to_virtual(page), 0, kPageSize);
    return page;
  }
  [[nodiscard]] size_t used() const { return used_; }

 private:
  PhysicalAddress start_;
  size_t size_, used_ = 0;
};

uint64_t* table_at(uint64_t entry) {
  return reinterpret_cast<uint64_t*>(physical_to_virtual(entry & kAddressMask));
}

/// The table below `entry`, made when there is none; null when the pool is empty.
uint64_t* table_below(uint64_t& entry, TablePool& pool) {
  if ((entry & kPresent) == 0) {
    PhysicalAddress page = pool.take();
    if (page == 0) return nullptr;
    entry = page | kTableBits;
  }
  return table_at(entry);
}

PhysicalAddress image_physical(const std::byte* address) { return virtual_to_physical(address); }

/// What the direct map must reach, in 2 MiB steps. Reserved regions above 1 GiB are left out, so
/// that device memory is never mapped cached.
bool is_mapped_kind(const MemoryRegion& region) {
  return region.kind != MemoryRegion::Kind::kReserved;
}

/// The kernel image in 4 KiB pages: code executable, constants readable, data writable.
bool map_image(TablePool& pool) {
  PhysicalAddress start = align_down(image_physical(aril_image_start), kPageSize);
  PhysicalAddress text_end = image_physical(aril_text_end);
  PhysicalAddress rodata_end = image_physical(aril_rodata_end);
  PhysicalAddress end = align_up(image_physical(aril_image_end), kPageSize);
  PhysicalAddress guard = image_physical(aril_boot_stack_guard);
  PhysicalAddress directory = pool.take();
  if (directory == 0) return false;
  auto* entries = table_at(directory);
  for (PhysicalAddress page = start; page < end; page += kPageSize) {
    uint64_t* table = table_below(entries[page / kLargePage], pool);
    if (table == nullptr) return false;
    uint64_t bits = kPresent | kGlobalBit;
    if (page >= text_end) bits |= kNoExecute;
    if (page >= rodata_end) bits |= kWritable;
    if (page == guard) continue;
    table[page / kPageSize % 512] = page | bits;
  }
  boot_pdpt_image[kImageTop] = directory | kTableBits;
  return true;
}

/// Code and constants must not be writable through the direct map either.
bool protect_image_alias(TablePool& pool) {
  PhysicalAddress start = image_physical(aril_image_start);
  PhysicalAddress end = image_physical(aril_rodata_end);
  for (PhysicalAddress chunk = align_down(start, kLargePage); chunk < end; chunk += kLargePage) {
    PhysicalAddress table = pool.take();
    if (table == 0) return false;
    for (uint64_t i = 0; i < 512; ++i) {
      PhysicalAddress page = chunk + i * kPageSize;
      bool read_only = page >= start && page < end;
      table_at(table)[i] = page | kPresent | kGlobalBit | (read_only ? 0 : kWritable);
    }
    boot_pd[chunk / kLargePage] = table | kTableBits;
  }
  return true;
}

bool map_direct(PhysicalAddress start, PhysicalAddress end, TablePool& pool) {
  start = std::max<PhysicalAddress>(align_down(start, kLargePage), kGiB);  // that much stands
  for (PhysicalAddress address = start; address < end;) {
    uint64_t virtual_address = kDirectMapBase + address;
    uint64_t& top = boot_pml4[virtual_address >> 39 & 511];
    bool fresh = (top & kPresent) == 0;
    uint64_t* pdpt = table_below(top, pool);
    if (pdpt == nullptr) return false;
    if (fresh) top |= kNoExecute;
    uint64_t& gigabyte = pdpt[virtual_address >> 30 & 511];
    if (features.gigabyte_pages && is_aligned(address, kGiB) && end - address >= kGiB &&
        (gigabyte & kPresent) == 0) {
      gigabyte = address | kPresent | kWritable | kLarge | kGlobalBit;
      address += kGiB;
      continue;
    }
    if ((gigabyte & (kPresent | kLarge)) != (kPresent | kLarge)) {
      uint64_t* directory = table_below(gigabyte, pool);
      if (directory == nullptr) return false;
      directory[virtual_address >> 21 & 511] = address | kPresent | kWritable | kLarge | kGlobalBit;
    }
    address += kLargePage;
  }
  return true;
}

}  // namespace

PhysicalAddress boot_page_table_root() { return virtual_to_physical(boot_pml4); }

ImageExtent kernel_image() {
  return {align_down(image_physical(aril_image_start), kPageSize),
          align_up(image_physical(aril_image_end), kPageSize)};
}

size_t direct_map_table_bytes(std::span<const MemoryRegion> regions) {
  ImageExtent image = kernel_image();
  size_t pages = 1 + 2 * (image.end / kLargePage + 1);
  for (const MemoryRegion& region : regions) {
    if (!is_mapped_kind(region) || region.end <= kGiB) continue;
    // Each partial GiB needs a directory; each 512 GiB a table above it.
    uint64_t gigabytes = (region.end - 1) / kGiB - region.start / kGiB + 1;
    pages += features.gigabyte_pages ? std::min<uint64_t>(gigabytes, 2) : gigabytes;
    pages += gigabytes / 512 + 1;
  }
  return pages * kPageSize;
}

Result<void> map_physical_memory(std::span<const MemoryRegion> regions, PhysicalAddress pool_start,
                                 size_t pool_size, size_t& pool_used) {
  TablePool pool(pool_start, pool_size);
  bool done = map_image(pool) && protect_image_alias(pool);
  for (const MemoryRegion& region : regions) {
    if (is_mapped_kind(region)) done = done && map_direct(region.start, region.end, pool);
  }
  pool_used = pool.used();
  if (!done) return fail(Errno::kNoMem);
  boot_pml4[0] = 0;  // the identity map
  flush_this_tlb();
  return {};
}

}  // namespace aril::arch
