#include <algorithm>
#include <new>

#include "address_space_state.hpp"

// mremap, madvise, msync and fork.
namespace aril {

Result<uint64_t> AddressSpace::remap(uint64_t address, uint64_t old_length, uint64_t new_length,
                                     bool may_move, std::optional<uint64_t> fixed_address) {
  if (!is_aligned(address, kPageSize) || new_length == 0) return fail(Errno::kInval);
  if (new_length > arch::kApplicationTop || old_length > arch::kApplicationTop ||
      address > arch::kApplicationTop - old_length)
    return fail(fixed_address || new_length > arch::kApplicationTop ? Errno::kInval
                                                                    : Errno::kFault);
  old_length = align_up(old_length, kPageSize);
  new_length = align_up(new_length, kPageSize);
  Implementation& state = *implementation_;
  DeadRegions dead;
  LockGuard hold(state.mutex);
  if (fixed_address) {
    uint64_t to = *fixed_address;
    if (!may_move || !is_aligned(to, kPageSize) || to < arch::kApplicationBottom ||
        to > arch::kApplicationTop - new_length)
      return fail(Errno::kInval);
    if (to < address + old_length && address < to + new_length) return fail(Errno::kInval);
  }
  Region* region = state.regions.find(address);
  if (region == nullptr || region->end - address < old_length) return fail(Errno::kFault);
  // Length 0 makes a second view of shared memory.
  if (old_length == 0 && (region->sharing != Sharing::kShared || !may_move))
    return fail(Errno::kInval);
  if (new_length > old_length && region->sharing == Sharing::kPrivate && !region->no_reserve &&
      has(region->protection, Protection::kWrite) &&
      !Implementation::may_commit(new_length - old_length))
    return fail(Errno::kNoMem);

  if (!fixed_address && old_length != 0) {
    if (new_length <= old_length) {
      ARIL_TRY(state.unmap_locked(address + new_length, address + old_length, dead));
      return address;
    }
    if (region->end == address + old_length && address <= arch::kApplicationTop - new_length &&
        state.is_free_locked(region->end, address + new_length)) {
      region->end = address + new_length;
      state.merge_locked(region->start, region->end, dead);
      return address;
    }
  }
  if (!may_move) return fail(Errno::kNoMem);
  return state.move_locked(address, old_length, new_length, fixed_address, dead);
}

Result<uint64_t> AddressSpace::Implementation::move_locked(uint64_t address, uint64_t old_length,
                                                           uint64_t new_length,
                                                           std::optional<uint64_t> fixed_address,
                                                           DeadRegions& dead) {
  uint64_t kept = std::min(old_length, new_length);
  uint64_t to;
  if (fixed_address) {
    to = *fixed_address;
    ARIL_TRY(unmap_locked(to, to + new_length, dead));
  } else {
    std::optional<uint64_t> gap = find_usual_gap_locked(new_length);
    if (!gap) return fail(Errno::kNoMem);
    to = *gap;
  }
  ARIL_TRY(isolate_locked(address, address + old_length));
  Region* old = regions.find(address);
  Region attributes(space);
  attributes.copy_attributes(*old);
  attributes.grows_down = false;
  attributes.offset = old->offset + (address - old->start);
  // The region first: with it in place, what follows cannot leave pages without one.
  ARIL_TRY(insert_locked(attributes, to, to + new_length, dead));
  if (Result<void> moved = move_pages_locked(address, to, kept); !moved) {
    (void)unmap_locked(to, to + new_length, dead);
    return fail(moved.error());
  }
  if (old_length != 0) ARIL_TRY(unmap_locked(address, address + old_length, dead));
  return to;
}

namespace {
std::optional<Region::AtFork> fork_advice(AddressSpace::Advice advice) {
  switch (advice) {
    case AddressSpace::Advice::kDontFork:
      return Region::AtFork::kOmit;
    case AddressSpace::Advice::kWipeOnFork:
      return Region::AtFork::kWipe;
    case AddressSpace::Advice::kDoFork:
    case AddressSpace::Advice::kKeepOnFork:
      return Region::AtFork::kCopy;
    default:
      return std::nullopt;
  }
}
}  // namespace

Result<void> AddressSpace::advise(uint64_t address, uint64_t length, Advice advice) {
  if (!is_aligned(address, kPageSize)) return fail(Errno::kInval);
  if (length > arch::kApplicationTop || address > arch::kApplicationTop - length)
    return fail(Errno::kInval);
  uint64_t end = align_up(address + length, kPageSize);
  if (advice == Advice::kPopulateRead || advice == Advice::kPopulateWrite)
    return implementation_->populate_checked(
        address, end, advice == Advice::kPopulateWrite ? Access::kWrite : Access::kRead);
  Implementation& state = *implementation_;
  DeadRegions dead;
  LockGuard hold(state.mutex);
  bool is_whole = state.is_mapped_locked(address, end);
  if (advice == Advice::kLargePages || advice == Advice::kNoLargePages) {
    ARIL_TRY(state.isolate_locked(address, end));
    for (size_t i = state.regions.first_above(address);
         i < state.regions.size() && state.regions[i].start < end; ++i)
      state.regions[i].large_pages =
          advice == Advice::kLargePages ? Region::LargePages::kAlways : Region::LargePages::kNever;
    state.merge_locked(address, end, dead);
  }
  if (std::optional<Region::AtFork> at_fork = fork_advice(advice)) {
    ARIL_TRY(state.isolate_locked(address, end));
    for (size_t i = state.regions.first_above(address);
         i < state.regions.size() && state.regions[i].start < end; ++i) {
      Region& region = state.regions[i];
      bool is_anonymous = !region.object && region.sharing == Sharing::kPrivate;
      if (*at_fork == Region::AtFork::kWipe && !is_anonymous) return fail(Errno::kInval);
      region.at_fork = *at_fork;
    }
    state.merge_locked(address, end, dead);
  }
  for (size_t i = state.regions.first_above(address);
       i < state.regions.size() && state.regions[i].start < end; ++i) {
    const Region& region = state.regions[i];
    bool is_anonymous = !region.object && region.sharing == Sharing::kPrivate;
    if (advice == Advice::kFree && !is_anonymous) return fail(Errno::kInval);
    if (advice == Advice::kDontNeed || advice == Advice::kFree)
      state.zap_locked(std::max(address, region.start), std::min(end, region.end));
  }
  if (!is_whole) return fail(Errno::kNoMem);
  return {};
}

Result<void> AddressSpace::Implementation::populate_checked(uint64_t start, uint64_t end,
                                                            Access access) {
  for (uint64_t at = start; at < end; at += kPageSize) {
    switch (fault(at, access)) {
      case FaultOutcome::kResolved:
        break;
      case FaultOutcome::kNotMapped:
      case FaultOutcome::kOutOfMemory:
        return fail(Errno::kNoMem);
      case FaultOutcome::kNotPermitted:
        return fail(Errno::kInval);
      case FaultOutcome::kBusError:
        return fail(Errno::kFault);
    }
  }
  return {};
}

Result<void> AddressSpace::sync(uint64_t address, uint64_t length) {
  if (!is_aligned(address, kPageSize)) return fail(Errno::kInval);
  if (length > arch::kApplicationTop || address > arch::kApplicationTop - length)
    return fail(Errno::kNoMem);
  uint64_t end = align_up(address + length, kPageSize);
  Implementation& state = *implementation_;
  bool has_hole = false;
  while (address < end) {
    RefPtr<MemoryObject> object;
    {
      LockGuard hold(state.mutex);
      size_t i = state.regions.first_above(address);
      if (i == state.regions.size() || state.regions[i].start >= end) return fail(Errno::kNoMem);
      const Region& region = state.regions[i];
      has_hole |= region.start > address;
      if (region.sharing == Sharing::kShared) object = region.object;
      address = region.end;
    }
    if (object) ARIL_TRY(object->write_back());
  }
  if (has_hole) return fail(Errno::kNoMem);
  return {};
}

Result<RefPtr<AddressSpace>> AddressSpace::fork() {
  RefPtr<AddressSpace> copy = ARIL_TRY(create());
  Implementation& child = *copy->implementation_;
  Implementation& parent = *implementation_;
  LockGuard hold(parent.mutex);
  child.is_randomized = parent.is_randomized;
  child.placement_top = parent.placement_top;
  child.initial_stack_top = parent.initial_stack_top;
  child.heap_start = parent.heap_start;
  child.heap_break = parent.heap_break;
  child.stack_limit = parent.stack_limit;
  bool write_protected = false;
  Result<void> result = parent.copy_to_locked(child, write_protected);
  // Before anyone writes: no CPU may keep an entry that allows it.
  if (write_protected) parent.table.flush(0, arch::kApplicationTop);
  if (!result) return fail(result.error());
  // Only now, and under the parent's lock: whoever truncates a file either has waited for it and
  // finds the child's regions too, or was through with the parent before its pages were copied.
  for (Region* region : child.regions.all()) region->attach();
  return copy;
}

Result<void> AddressSpace::Implementation::copy_to_locked(Implementation& child,
                                                          bool& write_protected) {
  ARIL_TRY(child.regions.reserve(regions.size()));
  for (const Region* region : regions.all()) {
    if (region->at_fork == Region::AtFork::kOmit) continue;
    auto* twin = new (std::nothrow) Region(child.space);
    if (twin == nullptr) return fail(Errno::kNoMem);
    twin->copy_attributes(*region);
    twin->start = region->start;
    twin->end = region->end;
    child.regions.insert(twin);
    // Shared pages are found again by faults.
    if (region->sharing == Sharing::kPrivate && region->at_fork == Region::AtFork::kCopy)
      ARIL_TRY(copy_pages_locked(child, *region, write_protected));
  }
  return {};
}

}  // namespace aril
