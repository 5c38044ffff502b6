#include "kernel/vm/address_space.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

#include "address_space_state.hpp"
#include "arch/cpu.hpp"
#include "kernel/random/random.hpp"
#include "kernel/vm/page_cache.hpp"

namespace aril {
namespace {

constinit std::atomic<uint64_t> last_id{0};

/// [address, address + length) rounded out to pages; kNoMem when it leaves the lower half.
struct PageRange {
  uint64_t start, end;
};

/// Where a region begins for those who place something below it.
uint64_t guarded_start(const Region& region) {
  constexpr uint64_t kGap = AddressSpace::kStackGuardGap;
  return region.start - (region.grows_down ? std::min(region.start, kGap) : 0);
}

Result<PageRange> page_range(uint64_t address, uint64_t length) {
  if (!is_aligned(address, kPageSize)) return fail(Errno::kInval);
  if (length > arch::kApplicationTop || address > arch::kApplicationTop - length)
    return fail(Errno::kNoMem);
  return PageRange{address, align_up(address + length, kPageSize)};
}

}  // namespace

Result<RefPtr<AddressSpace>> AddressSpace::create() {
  RefPtr<AddressSpace> space = ARIL_TRY(try_make_ref<AddressSpace>());
  arch::PageTable tree = ARIL_TRY(arch::PageTable::create());
  space->implementation_.reset(new (std::nothrow) Implementation(*space, std::move(tree)));
  if (!space->implementation_) return fail(Errno::kNoMem);
  // Relaxed: only uniqueness matters.
  space->id_ = last_id.fetch_add(1, std::memory_order_relaxed) + 1;
  return space;
}

AddressSpace::Implementation::Implementation(AddressSpace& owner, arch::PageTable tree)
    : space(owner), table(std::move(tree)) {
  choose_layout();
}

AddressSpace::Implementation::~Implementation() {
  release_reservation_locked();
  zap_locked(0, arch::kApplicationTop);
}

void AddressSpace::Implementation::choose_layout() {
  // 28 bits of randomness for mappings, as Linux, and 17 for the stack, in pages.
  uint64_t mapping_shift = 0, stack_shift = 0;
  if (is_randomized) {
    mapping_shift = random::below(uint64_t{1} << 28) << kPageShift;
    stack_shift = random::below(uint64_t{1} << 17) << kPageShift;
  }
  initial_stack_top = arch::kApplicationTop - stack_shift;
  placement_top = align_down(arch::kApplicationTop - kStackArea - mapping_shift, kPageSize);
}

void AddressSpace::set_randomized(bool randomized) {
  LockGuard hold(implementation_->mutex);
  implementation_->is_randomized = randomized;
  implementation_->choose_layout();
}

uint64_t AddressSpace::stack_top() const { return implementation_->initial_stack_top; }

void AddressSpace::set_stack_limit(uint64_t bytes) {
  LockGuard hold(implementation_->mutex);
  implementation_->stack_limit = bytes;
}

bool AddressSpace::Implementation::may_commit(uint64_t bytes) {
  return bytes >> kPageShift <= page_allocator::statistics().total_pages;
}

bool AddressSpace::Implementation::is_free_locked(uint64_t start, uint64_t end) const {
  size_t index = regions.first_above(start);
  if (index == regions.size()) return true;
  return guarded_start(regions[index]) >= end;
}

std::optional<uint64_t> AddressSpace::Implementation::find_gap_locked(uint64_t length,
                                                                      uint64_t floor,
                                                                      uint64_t ceiling) const {
  uint64_t top = ceiling;
  for (size_t i = regions.first_above(ceiling - 1) + 1; i-- > 0;) {
    if (i == regions.size()) continue;
    const Region& region = regions[i];
    if (region.start >= ceiling) {
      top = std::min(top, guarded_start(region));
      continue;
    }
    uint64_t bottom = std::max(region.end, floor);
    if (top >= bottom && top - bottom >= length) return top - length;
    if (region.start <= floor) return std::nullopt;
    top = std::min(top, guarded_start(region));
  }
  if (top >= floor && top - floor >= length) return top - length;
  return std::nullopt;
}

std::optional<uint64_t> AddressSpace::Implementation::find_usual_gap_locked(uint64_t length) {
  size_t order = static_cast<size_t>(std::bit_width(length >> kPageShift)) - 1;
  GapHint& hint = gap_hints[std::min(order, kGapHints - 1)];
  std::optional<uint64_t> found;
  if (hint.length != 0 && length >= hint.length)
    found = find_gap_locked(length, arch::kApplicationBottom, hint.below);
  if (!found) found = find_gap_locked(length, arch::kApplicationBottom, placement_top);
  if (found && (hint.length == 0 || length <= hint.length)) hint = {length, *found + length};
  return found;
}

/// Memory from `start` on was unmapped: searches begin above it again.
void AddressSpace::Implementation::note_freed_locked(uint64_t start) {
  size_t index = regions.first_above(start);
  uint64_t top = placement_top;
  if (index < regions.size()) top = std::min(top, guarded_start(regions[index]));
  for (GapHint& hint : gap_hints) hint.below = std::max(hint.below, top);
}

Result<uint64_t> AddressSpace::Implementation::place_locked(const MapRequest& request,
                                                            uint64_t length) {
  using enum MapRequest::Placement;
  if (request.placement == kFixed || request.placement == kFixedNoReplace) {
    if (!is_aligned(request.address, kPageSize)) return fail(Errno::kInval);
    if (request.address > arch::kApplicationTop - length) return fail(Errno::kNoMem);
    if (request.address < arch::kApplicationBottom) return fail(Errno::kPerm);
    if (request.placement == kFixedNoReplace) {
      size_t index = regions.first_above(request.address);
      if (index < regions.size() && regions[index].start < request.address + length)
        return fail(Errno::kExist);
    }
    return request.address;
  }
  // MAP_32BIT's window [mmap(2)]: addresses below 2 GiB, clear of the program and its heap.
  bool low = request.placement == kBelow4GiB;
  uint64_t floor = low ? 0x4000'0000 : arch::kApplicationBottom;
  uint64_t ceiling = low ? 0x8000'0000 : placement_top;
  uint64_t hint = align_up(std::min(request.address, arch::kApplicationTop), kPageSize);
  uint64_t hint_limit = low ? ceiling : arch::kApplicationTop;
  if (hint >= floor && length <= hint_limit && hint <= hint_limit - length &&
      is_free_locked(hint, hint + length))
    return hint;
  if (auto found = low ? find_gap_locked(length, floor, ceiling) : find_usual_gap_locked(length))
    return *found;
  if (!low) {
    if (auto found = find_gap_locked(length, floor, arch::kApplicationTop)) return *found;
  }
  return fail(Errno::kNoMem);
}

/// Makes `at` a border between regions if it lies inside one.
Result<void> AddressSpace::Implementation::split_locked(uint64_t at) {
  Region* region = regions.find(at);
  if (region == nullptr || region->start == at) return {};
  ARIL_TRY(regions.reserve(1));
  auto* upper = new (std::nothrow) Region(space);
  if (upper == nullptr) return fail(Errno::kNoMem);
  upper->copy_attributes(*region);
  upper->start = at;
  upper->end = region->end;
  upper->offset = region->offset + (at - region->start);
  region->end = at;
  // Only the lower part of a stack, its growing end, goes on growing.
  upper->grows_down = false;
  regions.insert(upper);
  upper->attach();
  return {};
}

/// Makes every region that touches [start, end) lie wholly inside.
Result<void> AddressSpace::Implementation::isolate_locked(uint64_t start, uint64_t end) {
  ARIL_TRY(split_locked(start));
  return split_locked(end);
}

/// Joins what may be one at the borders inside and around [start, end].
void AddressSpace::Implementation::merge_locked(uint64_t start, uint64_t end, DeadRegions& dead) {
  size_t i = regions.first_above(start > 0 ? start - 1 : 0);
  while (i + 1 < regions.size() && regions[i].start <= end) {
    if (!regions[i].can_absorb(regions[i + 1])) {
      ++i;
      continue;
    }
    regions[i].end = regions[i + 1].end;
    dead.add(regions.remove(i + 1));
  }
}

Result<void> AddressSpace::Implementation::insert_locked(const Region& attributes, uint64_t start,
                                                         uint64_t end, DeadRegions& dead) {
  ARIL_TRY(regions.reserve(1));
  auto* region = new (std::nothrow) Region(space);
  if (region == nullptr) return fail(Errno::kNoMem);
  region->copy_attributes(attributes);
  region->start = start;
  region->end = end;
  regions.insert(region);
  region->attach();
  merge_locked(start, end, dead);
  return {};
}

Result<uint64_t> AddressSpace::map(const MapRequest& request) {
  if (request.length == 0 || !is_aligned(request.offset, kPageSize)) return fail(Errno::kInval);
  if (request.length > arch::kApplicationTop) return fail(Errno::kNoMem);
  uint64_t length = align_up(request.length, kPageSize);
  if (length > ~request.offset) return fail(Errno::kOverflow);
  bool is_private = request.sharing == Sharing::kPrivate;
  if (is_private && has(request.protection, Protection::kWrite) && !request.no_reserve &&
      !Implementation::may_commit(length))
    return fail(Errno::kNoMem);

  Implementation& state = *implementation_;
  Region attributes(*this);
  attributes.protection = request.protection;
  attributes.sharing = request.sharing;
  attributes.grows_down = request.grows_down;
  attributes.no_reserve = request.no_reserve;
  attributes.may_write = request.may_write;
  attributes.label = request.label;
  attributes.object = request.object;
  if (attributes.object) {
    attributes.offset = request.offset;
  } else if (!is_private) {
    if (!request.no_reserve && !Implementation::may_commit(length)) return fail(Errno::kNoMem);
    attributes.object = ARIL_TRY(PageCache::create(nullptr, length, "/dev/zero (deleted)"));
  }
  DeadRegions dead;
  uint64_t address;
  {
    LockGuard hold(state.mutex);
    address = ARIL_TRY(state.place_locked(request, length));
    if (request.placement == MapRequest::Placement::kFixed)
      ARIL_TRY(state.unmap_locked(address, address + length, dead));
    ARIL_TRY(state.insert_locked(attributes, address, address + length, dead));
  }
  if (request.populate) state.populate(address, address + length, request.protection);
  return address;
}

Result<void> AddressSpace::Implementation::unmap_locked(uint64_t start, uint64_t end,
                                                        DeadRegions& dead) {
  size_t index = regions.first_above(start);
  if (index == regions.size() || regions[index].start >= end) return {};
  ARIL_TRY(isolate_locked(start, end));
  index = regions.first_above(start);
  while (index < regions.size() && regions[index].start < end) dead.add(regions.remove(index));
  zap_locked(start, end);
  uint64_t floor = index == 0 ? 0 : regions[index - 1].end;
  uint64_t ceiling =
      index == regions.size() ? arch::kApplicationTop + kPageSize : regions[index].start;
  table.free_tables(start, end, floor, ceiling);
  note_freed_locked(start);
  return {};
}

Result<void> AddressSpace::unmap(uint64_t address, uint64_t length) {
  if (length == 0) return fail(Errno::kInval);
  Result<PageRange> range = page_range(address, length);
  if (!range) return fail(Errno::kInval);
  DeadRegions dead;
  LockGuard hold(implementation_->mutex);
  return implementation_->unmap_locked(range->start, range->end, dead);
}

bool AddressSpace::Implementation::is_mapped_locked(uint64_t start, uint64_t end) const {
  for (size_t i = regions.first_above(start); start < end; ++i) {
    if (i == regions.size() || regions[i].start > start) return false;
    start = regions[i].end;
  }
  return true;
}

Result<void> AddressSpace::Implementation::protect_locked(uint64_t start, uint64_t end,
                                                          Protection protection,
                                                          DeadRegions& dead) {
  if (!is_mapped_locked(start, end)) return fail(Errno::kNoMem);
  if (has(protection, Protection::kWrite)) {
    for (size_t i = regions.first_above(start); i < regions.size() && regions[i].start < end; ++i)
      if (!regions[i].may_write) return fail(Errno::kAcces);
  }
  ARIL_TRY(isolate_locked(start, end));
  for (size_t i = regions.first_above(start); i < regions.size() && regions[i].start < end; ++i) {
    Region& region = regions[i];
    if (region.protection == protection) continue;
    region.protection = protection;
    protect_pages_locked(region);
  }
  merge_locked(start, end, dead);
  return {};
}

Result<void> AddressSpace::protect(uint64_t address, uint64_t length, Protection protection) {
  PageRange range = ARIL_TRY(page_range(address, length));
  DeadRegions dead;
  LockGuard hold(implementation_->mutex);
  return implementation_->protect_locked(range.start, range.end, protection, dead);
}

void AddressSpace::set_heap_start(uint64_t address) {
  LockGuard hold(implementation_->mutex);
  implementation_->heap_start = implementation_->heap_break = address;
}

uint64_t AddressSpace::set_break(uint64_t address) {
  Implementation& state = *implementation_;
  DeadRegions dead;
  LockGuard hold(state.mutex);
  uint64_t old_end = align_up(state.heap_break, kPageSize);
  if (address < state.heap_start || address >= arch::kApplicationTop) return state.heap_break;
  uint64_t new_end = align_up(address, kPageSize);
  if (new_end < old_end) {
    std::span<Page> kept = state.take_back_locked(new_end);
    bool unmapped = state.unmap_locked(new_end, old_end, dead).has_value();
    if (!unmapped) state.release_reservation_locked();
    if (!unmapped) return state.heap_break;
    for (Page& page : kept) std::memset(page.data(), 0, kPageSize);
  } else if (new_end > old_end) {
    Region heap(*this);
    heap.protection = Protection::kRead | Protection::kWrite;
    heap.label = "[heap]";
    // A page stays free above, as Linux keeps it.
    if (!state.is_free_locked(old_end, new_end + kPageSize) ||
        !Implementation::may_commit(new_end - state.heap_start) ||
        !state.insert_locked(heap, old_end, new_end, dead))
      return state.heap_break;
    state.map_growth_locked(old_end, new_end);
  }
  state.heap_break = address;
  return address;
}

}  // namespace aril
