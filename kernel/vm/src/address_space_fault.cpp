#include <algorithm>
#include <cstring>

#include "address_space_state.hpp"
#include "arch/cpu.hpp"
#include "arch/upcalls.hpp"
#include "base/assert.hpp"

namespace aril {
namespace {

constinit std::array<std::atomic<AddressSpace*>, arch::kMaxCpus> current_spaces{};
constinit std::array<FaultOutcome, arch::kMaxCpus> last_outcomes{};
constinit std::atomic<OutOfMemoryHandler> out_of_memory_handler{nullptr};

Result<PageRef> allocate_page(page_allocator::Fill fill) {
  return page_allocator::allocate(fill, page_allocator::Purpose::kApplication);
}

bool is_permitted(const Region& region, Access access) {
  switch (access) {
    case Access::kRead:
      // The CPU has no writable or executable pages that cannot be read.
      return region.protection != Protection::kNone;
    case Access::kWrite:
      return has(region.protection, Protection::kWrite);
    case Access::kExecute:
      return has(region.protection, Protection::kExecute);
    case Access::kForcedRead:
    case Access::kForcedWrite:
      return true;
  }
  return false;
}

constexpr arch::PageFlags without_write(arch::PageFlags flags) {
  return flags & ~arch::PageFlags::kWrite;
}

/// An entry that is there already allows the access: another CPU was faster.
bool suffices(const arch::Translation& entry, Access access) {
  switch (access) {
    case Access::kRead:
      return has(entry.flags, arch::PageFlags::kRead);
    case Access::kWrite:
      return has(entry.flags, arch::PageFlags::kWrite);
    case Access::kExecute:
      return has(entry.flags, arch::PageFlags::kExecute);
    case Access::kForcedRead:
      return true;
    case Access::kForcedWrite:
      return false;
  }
  return false;
}

}  // namespace

/// The region that holds `address`, after a stack above it has grown down to it.
Region* AddressSpace::Implementation::region_for_fault_locked(uint64_t address) {
  size_t index = regions.first_above(address);
  if (index == regions.size()) return nullptr;
  Region& region = regions[index];
  if (region.start <= address) return &region;
  if (!region.grows_down || region.object) return nullptr;
  uint64_t start = align_down(address, kPageSize);
  if (region.end - start > stack_limit || start < arch::kApplicationBottom) return nullptr;
  if (index > 0) {
    const Region& below = regions[index - 1];
    uint64_t gap = below.protection == Protection::kNone ? 0 : kStackGuardGap;
    if (start - below.end < gap) return nullptr;
  }
  region.start = start;
  return &region;
}

auto AddressSpace::Implementation::map_anonymous_locked(Region& region, uint64_t address,
                                                        Access access) -> Step {
  arch::PageFlags flags = page_flags(region.protection);
  if (!is_write(access)) {
    PageRef zero = PageRef::share(&page_allocator::zero_page());
    bool mapped = map_page_locked(address, std::move(zero), without_write(flags)).has_value();
    return {mapped ? Step::Kind::kDone : Step::Kind::kNoMemory};
  }
  if (suits_large_page_locked(region, address) &&
      map_large_page_locked(align_down(address, arch::kLargePageSize), flags))
    return {Step::Kind::kDone};
  if (map_cluster_locked(region, address, flags)) return {Step::Kind::kDone};
  Result<PageRef> page = allocate_page(page_allocator::Fill::kZero);
  if (!page || !map_page_locked(address, std::move(*page), flags)) return {Step::Kind::kNoMemory};
  return {Step::Kind::kDone};
}

/// Nothing is mapped yet: maps the object's page, or a copy of it.
auto AddressSpace::Implementation::map_object_locked(Region& region, uint64_t address,
                                                     Access access, PageRef page) -> Step {
  bool is_private = region.sharing == Sharing::kPrivate;
  arch::PageFlags flags = page_flags(region.protection);
  if (!page && !(is_write(access) && !is_private))
    page = region.object->resident_page(region.object_index(address));
  if (!page) {
    return {Step::Kind::kNeedsObjectPage,
            is_write(access) && !is_private ? PageAccess::kWrite : PageAccess::kRead};
  }
  if (is_write(access) && is_private) {
    if (copy_cluster_locked(region, address, flags)) return {Step::Kind::kDone};
    Result<PageRef> copy = allocate_page(page_allocator::Fill::kNone);
    if (!copy) return {Step::Kind::kNoMemory};
    std::memcpy((*copy)->data(), page->data(), kPageSize);
    if (!map_page_locked(address, std::move(*copy), flags)) return {Step::Kind::kNoMemory};
    return {Step::Kind::kDone};
  }
  if (!is_write(access) && (is_private || region.object->tracks_writes()))
    flags = without_write(flags);
  if (!map_page_locked(address, std::move(page), flags)) return {Step::Kind::kNoMemory};
  map_around_locked(region, address);
  return {Step::Kind::kDone};
}

/// Maps what is in memory of the 16 pages around a page that was just mapped for reading, as
/// programs touch code and data in clusters; of more where a fault is expensive.
void AddressSpace::Implementation::map_around_locked(Region& region, uint64_t address) {
  constexpr uint64_t kWindow = kPageSize << std::max(4u, arch::kFaultOrder);
  uint64_t start = std::max(region.start, align_down(address, kWindow));
  uint64_t end = std::min(region.end, align_down(address, kWindow) + kWindow);
  arch::PageFlags flags = page_flags(region.protection);
  if (region.sharing == Sharing::kPrivate || region.object->tracks_writes())
    flags = without_write(flags);
  for (uint64_t at = start; at < end; at += kPageSize) {
    if (table.query(at)) continue;
    PageRef page = region.object->resident_page(region.object_index(at));
    if (page && !map_page_locked(at, std::move(page), flags)) return;
  }
}

/// A write to a page that is mapped for reading.
auto AddressSpace::Implementation::make_writable_locked(Region& region, uint64_t address,
                                                        const arch::Translation& old,
                                                        PageRef object_page) -> Step {
  arch::PageFlags flags = page_flags(region.protection);
  if (region.sharing == Sharing::kShared) {
    if (region.object->tracks_writes() && !object_page)
      return {Step::Kind::kNeedsObjectPage, PageAccess::kWrite};
    if (object_page && object_page->physical() != old.physical) {
      // The object gives another page now (an in-place page was copied).
      if (!replace_page_locked(address, std::move(object_page), flags))
        return {Step::Kind::kNoMemory};
      return {Step::Kind::kDone};
    }
    table.protect(address, flags);
    return {Step::Kind::kDone};
  }
  Page& page = *page_allocator::page_of(old.physical);
  if (is_exclusive(page)) {
    // More rights need no flush: a stale entry only faults once more [SDM 3A 4.10.4.3].
    table.protect(address, flags);
    return {Step::Kind::kDone};
  }
  if (copy_cluster_locked(region, address, flags)) return {Step::Kind::kDone};
  bool is_zero = &page == &page_allocator::zero_page();
  Result<PageRef> copy =
      allocate_page(is_zero ? page_allocator::Fill::kZero : page_allocator::Fill::kNone);
  if (!copy) return {Step::Kind::kNoMemory};
  if (!is_zero) std::memcpy((*copy)->data(), page.data(), kPageSize);
  if (!replace_page_locked(address, std::move(*copy), flags)) return {Step::Kind::kNoMemory};
  return {Step::Kind::kDone};
}

auto AddressSpace::Implementation::step_locked(Region& region, uint64_t address, Access access,
                                               PageRef object_page) -> Step {
  if (std::optional<arch::Translation> entry = table.query(address)) {
    if (suffices(*entry, access)) return {Step::Kind::kDone};
    if (is_write(access))
      return make_writable_locked(region, address, *entry, std::move(object_page));
    // Less than the region allows: cannot be, but the region decides.
    table.protect(address, without_write(page_flags(region.protection)));
    return {Step::Kind::kDone};
  }
  if (!region.object) return map_anonymous_locked(region, address, access);
  return map_object_locked(region, address, access, std::move(object_page));
}

FaultOutcome AddressSpace::Implementation::fault(uint64_t address, Access access) {
  constexpr unsigned kReclaimAttempts = 8;
  constexpr size_t kReclaimPages = 64;
  if (address >= arch::kApplicationTop) return FaultOutcome::kNotMapped;
  address = align_down(address, kPageSize);
  // A page fetched without the lock, and what must still hold for it to be used.
  PageRef fetched;
  RefPtr<MemoryObject> object;
  uint64_t index = 0, changes_before = 0;
  PageAccess object_access = PageAccess::kRead;
  for (unsigned attempt = 0;;) {
    Step step{};
    {
      LockGuard hold(mutex);
      Region* region = region_for_fault_locked(address);
      if (region == nullptr) return FaultOutcome::kNotMapped;
      if (!is_permitted(*region, access)) return FaultOutcome::kNotPermitted;
      bool fits = fetched && region->object == object && region->object_index(address) == index &&
                  object_changes == changes_before;
      step = step_locked(*region, address, access, fits ? fetched : PageRef());
      if (step.kind == Step::Kind::kNoMemory && release_reservation_locked()) continue;
      if (step.kind == Step::Kind::kNeedsObjectPage) {
        object = region->object;
        index = region->object_index(address);
        changes_before = object_changes;
        object_access = step.object_access;
      }
    }
    if (step.kind == Step::Kind::kDone) return FaultOutcome::kResolved;
    if (step.kind == Step::Kind::kNeedsObjectPage) {
      Result<PageRef> page = object->page(index, object_access);
      if (page) {
        fetched = std::move(*page);
        continue;
      }
      if (page.error() != Errno::kNoMem) return FaultOutcome::kBusError;
    }
    // Without our lock reclaim can take pages from this very space.
    fetched.reset();
    if (++attempt <= kReclaimAttempts && page_allocator::reclaim(kReclaimPages) != 0) continue;
    OutOfMemoryHandler handler = out_of_memory_handler.load(std::memory_order_relaxed);
    if (handler == nullptr || !handler()) return FaultOutcome::kOutOfMemory;
    attempt = 0;
  }
}

void AddressSpace::Implementation::populate(uint64_t start, uint64_t end, Protection protection) {
  if (protection == Protection::kNone) return;
  Access access = has(protection, Protection::kWrite) ? Access::kWrite : Access::kRead;
  // As with Linux, what cannot be had now is left to later faults.
  for (uint64_t at = start; at < end; at += kPageSize) {
    if (fault(at, access) != FaultOutcome::kResolved) return;
  }
}

FaultOutcome AddressSpace::handle_fault(const arch::PageFault& fault) {
  Access access = Access::kRead;
  if (fault.write) access = Access::kWrite;
  if (fault.instruction_fetch) access = Access::kExecute;
  return implementation_->fault(fault.address, access);
}

void AddressSpace::activate() { implementation_->table.activate(); }

// A thread changes its CPU only by blocking, so the slots below need no order between CPUs but
// that of the exchange in the destructor.
AddressSpace* current_address_space() {
  return current_spaces[arch::cpu_index()].load(std::memory_order_relaxed);
}

void set_current_address_space(AddressSpace* space) {
  std::atomic<AddressSpace*>& slot = current_spaces[arch::cpu_index()];
  if (slot.load(std::memory_order_relaxed) == space) return;
  slot.store(space, std::memory_order_relaxed);
  if (space != nullptr) {
    space->activate();
  } else {
    arch::PageTable::kernel().activate();
  }
}

AddressSpace::~AddressSpace() {
  // CPUs that run a kernel thread after one of this space's keep the tree loaded, which stays valid
  // (PageTable's destructor), but must not find the object here.
  for (std::atomic<AddressSpace*>& slot : current_spaces) {
    AddressSpace* self = this;
    slot.compare_exchange_strong(self, nullptr, std::memory_order_relaxed);
  }
}

void set_out_of_memory_handler(OutOfMemoryHandler handler) { out_of_memory_handler = handler; }

FaultOutcome last_fault_outcome() { return last_outcomes[arch::cpu_index()]; }

/// linux/: the running process used more than there is. Thread context.
extern "C" [[gnu::weak]] void aril_on_out_of_memory();

extern "C" bool arch::aril_on_page_fault(arch::TrapFrame& frame, const arch::PageFault& fault) {
  AddressSpace* space = current_address_space();
  FaultOutcome outcome = FaultOutcome::kNotMapped;
  // With interrupts disabled nothing can be fetched: a spin lock is held over an access to
  // application memory, which the trap code reports.
  if (space != nullptr && arch::interrupts_enabled()) outcome = space->handle_fault(fault);
  last_outcomes[arch::cpu_index()] = outcome;
  // A copy to or from application memory: its EFAULT would hide what happened.
  bool in_kernel = frame.rip >= arch::kApplicationTop;
  if (outcome == FaultOutcome::kOutOfMemory && in_kernel && aril_on_out_of_memory != nullptr)
    aril_on_out_of_memory();
  return outcome == FaultOutcome::kResolved;
}

}  // namespace aril
