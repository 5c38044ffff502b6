#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel/vm/address_space.hpp"
#include "kernel/vm/memory_object.hpp"

namespace aril {

/// Addresses [start, end), page-aligned, that behave alike.
struct Region {
  explicit Region(AddressSpace& space) : mapping(space) {}

  uint64_t start = 0, end = 0;
  Protection protection = Protection::kNone;
  Sharing sharing = Sharing::kPrivate;
  bool grows_down = false;
  bool no_reserve = false;
  bool may_write = true;
  enum class AtFork : uint8_t { kCopy, kOmit, kWipe } at_fork = AtFork::kCopy;
  /// Whether anonymous memory gets pages of 2 MiB: the kernel's choice unless madvise made one.
  enum class LargePages : uint8_t { kChoose, kAlways, kNever } large_pages = LargePages::kChoose;
  bool is_attached = false;  ///< `mapping` is in the object's list
  const char* label = nullptr;
  RefPtr<MemoryObject> object;
  uint64_t offset = 0;  ///< of `start` in the object, bytes
  ObjectMapping mapping;
  Region* next_dead = nullptr;

  [[nodiscard]] uint64_t length() const { return end - start; }
  [[nodiscard]] uint64_t object_index(uint64_t address) const {
    return (offset + (address - start)) >> kPageShift;
  }
  /// All but the addresses.
  void copy_attributes(const Region& other);
  /// `next` continues this region: the two may be one.
  [[nodiscard]] bool can_absorb(const Region& next) const;
  void attach();
  void detach();
};

/// Regions that were taken out of an address space. They are destroyed after its lock is released:
/// letting go the last reference to a file may take locks of lower rank.
class DeadRegions {
 public:
  DeadRegions() = default;
  DeadRegions(const DeadRegions&) = delete;
  DeadRegions& operator=(const DeadRegions&) = delete;
  ~DeadRegions();
  void add(Region* region);

 private:
  Region* first_ = nullptr;
};

/// The regions of one address space in ascending order: an array of pointers, as lookups by far
/// outnumber changes. Not synchronised; owns the regions.
class RegionList {
 public:
  /// Linux's default of vm.max_map_count.
  static constexpr size_t kMaxRegions = 65530;

  RegionList() = default;
  RegionList(const RegionList&) = delete;
  RegionList& operator=(const RegionList&) = delete;
  ~RegionList();

  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] Region& operator[](size_t index) const { return *regions_[index]; }
  [[nodiscard]] std::span<Region* const> all() const { return {regions_, size_}; }
  /// The index of the first region that ends above `address`; size() when there is none.
  [[nodiscard]] size_t first_above(uint64_t address) const;
  /// The region that holds `address`; null when none does.
  [[nodiscard]] Region* find(uint64_t address) const;
  /// kNoMem, also over kMaxRegions.
  Result<void> reserve(size_t more);
  /// Room was reserved.
  void insert(Region* region);
  Region* remove(size_t index);

 private:
  Region** regions_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace aril
