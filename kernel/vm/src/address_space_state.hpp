#pragma once
#include <array>
#include <optional>
#include <span>

#include "arch/address_spaces.hpp"
#include "arch/page_table.hpp"
#include "kernel/memory/page_allocator.hpp"
#include "kernel/sched/mutex.hpp"
#include "kernel/vm/address_space.hpp"
#include "region.hpp"

namespace aril {

/// What a fault or a forced access wants of a page.
enum class Access : uint8_t {
  kRead,
  kWrite,
  kExecute,
  kForcedRead,   ///< regardless of the region's protection
  kForcedWrite,  ///< likewise; gives the space a page of its own in private regions
};
constexpr bool is_write(Access access) {
  return access == Access::kWrite || access == Access::kForcedWrite;
}

inline constexpr unsigned kLargePageOrder = 9;
static_assert(kPageSize << kLargePageOrder == arch::kLargePageSize);

class ReleasedPages;

/// Everything in an AddressSpace. Methods with the suffix _locked need `mutex`; the others take it.
struct AddressSpace::Implementation {
  static constexpr uint64_t kDefaultStackLimit = 8 * kMiB;
  /// Between the top of kAnywhere placements and the top of the address space: the initial stack.
  static constexpr uint64_t kStackArea = 2 * kGiB;

  Implementation(AddressSpace& owner, arch::PageTable tree);
  /// Nobody else knows the space any more.
  ~Implementation();

  // Placement and regions: address_space.cpp.
  void choose_layout();
  [[nodiscard]] bool is_free_locked(uint64_t start, uint64_t end) const;
  Result<uint64_t> place_locked(const MapRequest& request, uint64_t length);
  [[nodiscard]] std::optional<uint64_t> find_gap_locked(uint64_t length, uint64_t floor,
                                                        uint64_t ceiling) const;
  /// The same below placement_top, starting where earlier searches have found nothing above.
  [[nodiscard]] std::optional<uint64_t> find_usual_gap_locked(uint64_t length);
  void note_freed_locked(uint64_t start);
  Result<void> split_locked(uint64_t at);
  Result<void> isolate_locked(uint64_t start, uint64_t end);
  void merge_locked(uint64_t start, uint64_t end, DeadRegions& dead);
  Result<void> insert_locked(const Region& attributes, uint64_t start, uint64_t end,
                             DeadRegions& dead);
  Result<void> unmap_locked(uint64_t start, uint64_t end, DeadRegions& dead);
  Result<void> protect_locked(uint64_t start, uint64_t end, Protection protection,
                              DeadRegions& dead);
  [[nodiscard]] bool is_mapped_locked(uint64_t start, uint64_t end) const;
  /// Whether the machine could ever hold `bytes` more of private writable memory.
  [[nodiscard]] static bool may_commit(uint64_t bytes);
  [[nodiscard]] MappingView view_locked(const Region& region) const;

  Result<uint64_t> move_locked(uint64_t address, uint64_t old_length, uint64_t new_length,
                               std::optional<uint64_t> fixed_address, DeadRegions& dead);
  Result<void> copy_to_locked(Implementation& child, bool& write_protected);
  template <typename Act>
  Result<void> access_forced(uint64_t address, size_t size, Access access, Act act);

  // Pages: address_space_pages.cpp.
  Result<void> map_page_locked(uint64_t address, PageRef page, arch::PageFlags flags);
  Result<void> replace_page_locked(uint64_t address, PageRef page, arch::PageFlags flags);
  void zap_locked(uint64_t start, uint64_t end);
  void unmap_for_others_locked(uint64_t start, uint64_t end, ReleasedPages& released);
  void unmap_pages_locked(uint64_t start, uint64_t end, ReleasedPages& released);
  [[nodiscard]] bool is_whole_large_page_locked(uint64_t at, uint64_t end) const;
  void write_protect_pages_locked(uint64_t start, uint64_t end);
  void protect_pages_locked(const Region& region);
  Result<void> move_pages_locked(uint64_t from, uint64_t to, uint64_t length);
  Result<void> copy_pages_locked(Implementation& child, const Region& region,
                                 bool& write_protected);
  template <typename Act>
  void for_each_part_locked(const MemoryObject& object, uint64_t first, uint64_t count, Act act);

  // Faults: address_space_fault.cpp.
  FaultOutcome fault(uint64_t address, Access access);
  Region* region_for_fault_locked(uint64_t address);
  struct Step;
  Step step_locked(Region& region, uint64_t address, Access access, PageRef object_page);
  Step map_anonymous_locked(Region& region, uint64_t address, Access access);
  [[nodiscard]] bool suits_large_page_locked(const Region& region, uint64_t address) const;
  bool map_large_page_locked(uint64_t address, arch::PageFlags flags);
  /// Pages that follow each other.
  struct Run {
    uint64_t start, end;
  };
  [[nodiscard]] Run empty_run_locked(const Region& region, uint64_t address, unsigned order) const;
  [[nodiscard]] bool is_filled_up_to_locked(const Region& region, uint64_t address,
                                            const Run& run) const;
  [[nodiscard]] Run upward_run_locked(const Region& region, uint64_t address) const;
  bool map_run_locked(const Run& run, uint64_t address, arch::PageFlags flags);
  bool map_cluster_locked(const Region& region, uint64_t address, arch::PageFlags flags);
  bool reserve_locked(const Region& region, uint64_t address, arch::PageFlags flags);
  /// Whether there was anything.
  bool release_reservation_locked();
  std::span<Page> take_back_locked(uint64_t end);
  bool map_reserved_locked(const Region& region, uint64_t address, arch::PageFlags flags);
  void map_reserved_to_locked(const Region& region, uint64_t end, arch::PageFlags flags);
  void map_growth_locked(uint64_t start, uint64_t end);
  bool copy_cluster_locked(Region& region, uint64_t address, arch::PageFlags flags);
  Step map_object_locked(Region& region, uint64_t address, Access access, PageRef page);
  Step make_writable_locked(Region& region, uint64_t address, const arch::Translation& old,
                            PageRef object_page);
  void map_around_locked(Region& region, uint64_t address);
  Result<void> populate_checked(uint64_t start, uint64_t end, Access access);
  void populate(uint64_t start, uint64_t end, Protection protection);

  AddressSpace& space;
  mutable Mutex mutex{LockRank::kAddressSpace};
  arch::PageTable table;
  RegionList regions;
  /// Counts what objects do to their pages' mappings (truncation, write-back): a fault that fetched
  /// a page without the lock meanwhile starts over.
  uint64_t object_changes = 0;
  uint64_t placement_top = 0;
  /// What searches from placement_top downwards have found, by the order of the length: no gap of
  /// `length` or more begins at `below` or above. Thousands of mappings would otherwise be passed
  /// at each mmap. Only a hint: a gap above it is missed until it is the only one.
  struct GapHint {
    uint64_t length = 0, below = 0;
  };
  static constexpr size_t kGapHints = 16;
  std::array<GapHint, kGapHints> gap_hints{};
  uint64_t initial_stack_top = 0;
  uint64_t heap_start = 0, heap_break = 0;
  /// What is left of 2 MiB that were set aside for where the heap grows, so that they can become a
  /// large page (a "superpage reservation" [Navarro et al., OSDI 2002]): the pages from `page` on,
  /// one reference to each, for [next, end), which gets them in order.
  struct Reservation {
    uint64_t next = 0, end = 0;
    Page* page = nullptr;
  } reservation;
  uint64_t stack_limit = kDefaultStackLimit;
  uint64_t resident_pages = 0, peak_resident_pages = 0;
  bool is_randomized = true;
  unsigned fault_order = arch::kFaultOrder;
};

/// The outcome of one attempt at a fault.
struct AddressSpace::Implementation::Step {
  enum class Kind : uint8_t {
    kDone,
    kNeedsObjectPage,  ///< to be fetched without the lock, for `object_access`
    kNoMemory,
  } kind;
  PageAccess object_access = PageAccess::kRead;
};

/// The page-table flags that a region's protection allows.
constexpr arch::PageFlags page_flags(Protection protection) {
  using arch::PageFlags;
  if (protection == Protection::kNone) return PageFlags::kNone;
  PageFlags flags = PageFlags::kRead;
  if (has(protection, Protection::kWrite)) flags |= PageFlags::kWrite;
  if (has(protection, Protection::kExecute)) flags |= PageFlags::kExecute;
  return flags;
}

/// Nobody but one page-table entry refers to the page, so a private mapping may write to it.
inline bool is_exclusive(const Page& page) {
  // Acquire: whoever else held the page is done with it.
  return !page.is_pinned() && page.references.load(std::memory_order_acquire) == 1;
}

/// Pages whose entries were cleared: kept until no CPU can reach them any more.
class ReleasedPages {
 public:
  explicit ReleasedPages(const arch::PageTable& table) : table_(table) {}
  ReleasedPages(const ReleasedPages&) = delete;
  ReleasedPages& operator=(const ReleasedPages&) = delete;
  ~ReleasedPages() { flush(); }
  /// `address` was unmapped and is not used again before flush().
  void add(uint64_t address, Page& page);
  void flush();

 private:
  static constexpr size_t kCapacity = 128;
  const arch::PageTable& table_;
  std::array<Page*, kCapacity> pages_;
  size_t count_ = 0;
  uint64_t start_ = ~uint64_t{0}, end_ = 0;
};

}  // namespace aril
