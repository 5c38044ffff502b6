#include <algorithm>
#include <cstring>

#include "address_space_state.hpp"
#include "base/assert.hpp"

// Looking at an address space, and reaching into it past its protection.
namespace aril {

MappingView AddressSpace::Implementation::view_locked(const Region& region) const {
  uint64_t resident = 0;
  for (uint64_t at = table.next_present(region.start, region.end); at < region.end;
       at = table.next_present(at + kPageSize, region.end))
    ++resident;
  return {.start = region.start,
          .end = region.end,
          .offset = region.offset,
          .protection = region.protection,
          .sharing = region.sharing,
          .object = region.object.get(),
          .label = region.label,
          .resident_pages = resident,
          .may_write = region.may_write};
}

void AddressSpace::for_each_mapping(const std::function<void(const MappingView&)>& visit) const {
  LockGuard hold(implementation_->mutex);
  for (const Region* region : implementation_->regions.all())
    visit(implementation_->view_locked(*region));
}

std::optional<MappingView> AddressSpace::find_mapping(uint64_t address) const {
  LockGuard hold(implementation_->mutex);
  const Region* region = implementation_->regions.find(address);
  if (region == nullptr) return std::nullopt;
  return implementation_->view_locked(*region);
}

AddressSpace::Usage AddressSpace::usage() const {
  const Implementation& state = *implementation_;
  LockGuard hold(state.mutex);
  Usage usage{.resident_pages = state.resident_pages,
              .peak_resident_pages = state.peak_resident_pages};
  for (const Region* region : state.regions.all()) {
    uint64_t pages = region->length() >> kPageShift;
    usage.mapped_pages += pages;
    if (region->grows_down) {
      usage.stack_pages += pages;
    } else if (region->sharing == Sharing::kPrivate &&
               has(region->protection, Protection::kWrite)) {
      usage.data_pages += pages;
    }
  }
  return usage;
}

Result<void> AddressSpace::residency(uint64_t address, uint64_t length, std::span<uint8_t> out) {
  if (!is_aligned(address, kPageSize)) return fail(Errno::kInval);
  if (length > arch::kApplicationTop || address > arch::kApplicationTop - length)
    return fail(Errno::kNoMem);
  uint64_t end = align_up(address + length, kPageSize);
  if (out.size() < (end - address) >> kPageShift) return fail(Errno::kInval);
  Implementation& state = *implementation_;
  LockGuard hold(state.mutex);
  if (!state.is_mapped_locked(address, end)) return fail(Errno::kNoMem);
  for (size_t i = 0; address < end; address += kPageSize, ++i) {
    const Region& region = *state.regions.find(address);
    bool is_resident =
        state.table.query(address).has_value() ||
        (region.object && region.object->resident_page(region.object_index(address)));
    out[i] = is_resident ? 1 : 0;
  }
  return {};
}

std::optional<std::pair<RefPtr<MemoryObject>, uint64_t>> AddressSpace::shared_backing(
    uint64_t address) const {
  LockGuard hold(implementation_->mutex);
  const Region* region = implementation_->regions.find(address);
  if (region == nullptr || region->sharing != Sharing::kShared) return std::nullopt;
  return std::pair(region->object, region->offset + (address - region->start));
}

namespace {

/// Stores bytes that lie within one aligned word in a single access, so that a CPU which executes
/// them sees all of the old or all of the new; longer runs word by word.
void store_bytes(std::byte* to, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    size_t in_word = reinterpret_cast<uintptr_t>(to) % sizeof(uint64_t);
    size_t count = std::min(sizeof(uint64_t) - in_word, bytes.size());
    auto* word = reinterpret_cast<uint64_t*>(to - in_word);
    uint64_t value = __atomic_load_n(word, __ATOMIC_RELAXED);
    // The view of the word as bytes that a memcpy into it needs.
    std::memcpy(reinterpret_cast<std::byte*>(&value) + in_word, bytes.data(), count);
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
    to += count;
    bytes = bytes.subspan(count);
  }
}

}  // namespace

/// Calls act(page bytes, count done so far) for each piece of [address, address + size), with the
/// lock held and the page made present.
template <typename Act>
Result<void> AddressSpace::Implementation::access_forced(uint64_t address, size_t size,
                                                         Access access, Act act) {
  if (size > arch::kApplicationTop || address > arch::kApplicationTop - size)
    return fail(Errno::kFault);
  size_t done = 0;
  while (done < size) {
    uint64_t at = address + done;
    size_t in_page = at % kPageSize;
    size_t count = std::min(kPageSize - in_page, size - done);
    if (fault(at, access) != FaultOutcome::kResolved) return fail(Errno::kFault);
    LockGuard hold(mutex);
    std::optional<arch::Translation> entry = table.query(at);
    // Gone again since the fault: once more.
    if (!entry) continue;
    Page* page = page_allocator::page_of(entry->physical);
    const Region* region = regions.find(at);
    if (region == nullptr) continue;
    if (is_write(access) && region->sharing == Sharing::kPrivate && !is_exclusive(*page)) continue;
    act(page->bytes().subspan(in_page, count), done);
    done += count;
  }
  return {};
}

Result<void> AddressSpace::write_forced(uint64_t address, std::span<const std::byte> bytes) {
  return implementation_->access_forced(
      address, bytes.size(), Access::kForcedWrite, [&](std::span<std::byte> page, size_t done) {
        store_bytes(page.data(), bytes.subspan(done, page.size()));
      });
}

Result<void> AddressSpace::read_forced(uint64_t address, std::span<std::byte> bytes) {
  return implementation_->access_forced(
      address, bytes.size(), Access::kForcedRead, [&](std::span<std::byte> page, size_t done) {
        std::ranges::copy(page, bytes.begin() + static_cast<ptrdiff_t>(done));
      });
}

}  // namespace aril
