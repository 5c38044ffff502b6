#include <algorithm>
#include <iterator>
#include <limits>
#include <new>

#include "arch/address_spaces.hpp"
#include "arch/cpu.hpp"
#include "arch/page_table.hpp"
#include "base/assert.hpp"
#include "kernel/memory/heap.hpp"
#include "kernel/memory/page_allocator.hpp"
#include "kernel/sync/spin_lock.hpp"

// The kernel map: stacks grow up from its base, devices down from its top. Addresses are plentiful
// (512 GiB), so those of devices are never used again and those of stacks only for stacks.
namespace aril::heap {
namespace {

/// A mapped stack that no thread uses; lies at the stack's own bottom.
struct SpareStack {
  SpareStack* next;
  size_t size;
};

/// Addresses of a stack that was unmapped.
struct SpareAddresses {
  SpareAddresses* next;
  uint64_t bottom;
  size_t size;
};

// Guards all of the below and the kernel's page table.
constinit SpinLock lock{LockRank::kHeap};
constinit uint64_t stacks_end = arch::kKernelMapBase;
constinit uint64_t devices_start = arch::kKernelMapTop;
constinit SpareStack* spare_stacks = nullptr;
constinit size_t spare_stack_count = 0;
constinit SpareAddresses* spare_addresses = nullptr;

constexpr size_t kMaxSpareStacks = 8;
constexpr arch::PageFlags kStackFlags =
    arch::PageFlags::kRead | arch::PageFlags::kWrite | arch::PageFlags::kGlobal;

template <typename Node>
Node* take_of_size_locked(Node*& list, size_t size) {
  for (Node** link = &list; *link != nullptr; link = &(*link)->next) {
    if ((*link)->size != size) continue;
    Node* node = *link;
    *link = node->next;
    return node;
  }
  return nullptr;
}

/// Unmaps and frees the pages of [bottom, bottom + size) that are mapped. No spin lock is held.
void unmap_pages(uint64_t bottom, size_t size) {
  constexpr size_t kBatch = 16;
  for (uint64_t address = bottom; address < bottom + size;) {
    PhysicalAddress pages[kBatch];
    size_t count = 0;
    uint64_t start = address;
    {
      LockGuard hold(lock);
      for (; address < bottom + size && count < kBatch; address += kPageSize) {
        if (auto old = arch::PageTable::kernel().unmap(address)) pages[count++] = old->physical;
      }
    }
    if (count == 0) continue;
    arch::flush_tlb(start, address);
    for (size_t i = 0; i < count; ++i) page_allocator::free_block(pages[i], 0);
  }
}

void keep_addresses(uint64_t bottom, size_t size) {
  // Without memory for the note the addresses are lost, which 512 GiB of them allow.
  auto* note = new (std::nothrow) SpareAddresses{nullptr, bottom, size};
  if (note == nullptr) return;
  LockGuard hold(lock);
  note->next = spare_addresses;
  spare_addresses = note;
}

/// The bottom of unused addresses for a stack, with a page never mapped below it; 0 when none.
uint64_t take_addresses(size_t size) {
  SpareAddresses* note;
  {
    LockGuard hold(lock);
    note = take_of_size_locked(spare_addresses, size);
    if (note == nullptr) {
      if (devices_start - stacks_end < size + kPageSize) return 0;
      uint64_t bottom = stacks_end + kPageSize;
      stacks_end = bottom + size;
      return bottom;
    }
  }
  uint64_t bottom = note->bottom;
  delete note;
  return bottom;
}

bool map_fresh_pages(uint64_t bottom, size_t size) {
  for (uint64_t address = bottom; address < bottom + size; address += kPageSize) {
    Result<PhysicalAddress> page = page_allocator::allocate_block(0);
    if (!page) return false;
    LockGuard hold(lock);
    if (!arch::PageTable::kernel().map(address, *page, kStackFlags)) {
      page_allocator::free_block(*page, 0);
      return false;
    }
  }
  return true;
}

void release_stack(std::byte* bottom, size_t size) {
  auto address = reinterpret_cast<uint64_t>(bottom);
  unmap_pages(address, size);
  keep_addresses(address, size);
}

}  // namespace

std::byte* allocate_guarded_stack(size_t size) {
  ARIL_ASSERT(size != 0 && is_aligned(size, kPageSize));
  {
    LockGuard hold(lock);
    if (SpareStack* spare = take_of_size_locked(spare_stacks, size)) {
      --spare_stack_count;
      return reinterpret_cast<std::byte*>(spare);
    }
  }
  uint64_t bottom = take_addresses(size);
  if (bottom == 0) return nullptr;
  if (!map_fresh_pages(bottom, size)) {
    unmap_pages(bottom, size);
    keep_addresses(bottom, size);
    return nullptr;
  }
  // The thread begins at its top.
  arch::prefetch_translations(arch::PageTable::kernel().root(), bottom + size - kPageSize,
                              bottom + size);
  // The addresses of freshly mapped pages are the stack.
  return reinterpret_cast<std::byte*>(bottom);
}

void free_guarded_stack(std::byte* bottom, size_t size) {
  SpareStack* surplus = nullptr;
  {
    LockGuard hold(lock);
    spare_stacks = new (bottom) SpareStack{spare_stacks, size};
    ++spare_stack_count;
  }
  // Unmapping waits for other CPUs, which must not be done with interrupts disabled.
  while (arch::interrupts_enabled()) {
    {
      LockGuard hold(lock);
      if (spare_stack_count <= kMaxSpareStacks) return;
      surplus = spare_stacks;
      spare_stacks = surplus->next;
      --spare_stack_count;
    }
    release_stack(reinterpret_cast<std::byte*>(surplus), surplus->size);
  }
}

std::byte* map_device(unsigned long physical, size_t size) {
  uint64_t offset = physical % kPageSize;
  PhysicalAddress first = physical - offset;
  if (size == 0 || size > arch::kKernelMapTop - arch::kKernelMapBase) return nullptr;
  uint64_t length = align_up(offset + size, kPageSize);
  if (first > std::numeric_limits<uint64_t>::max() - length) return nullptr;
  LockGuard hold(lock);
  if (devices_start - stacks_end < length + kPageSize) return nullptr;
  uint64_t start = devices_start - length;
  for (uint64_t done = 0; done < length; done += kPageSize) {
    using enum arch::PageFlags;
    if (!arch::PageTable::kernel().map(start + done, first + done,
                                       kRead | kWrite | kUncached | kGlobal))
      return nullptr;
  }
  // A page stays unmapped between devices.
  devices_start = start - kPageSize;
  return reinterpret_cast<std::byte*>(start + offset);
}

}  // namespace aril::heap
