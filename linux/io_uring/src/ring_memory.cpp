#include "ring_memory.hpp"

#include <bit>
#include <new>

#include "kernel/memory/page_allocator.hpp"

namespace aril::linux_abi::io_uring {

Result<RingMemory::Block> RingMemory::allocate(size_t bytes) {
  size_t pages = align_up(bytes, kPageSize) / kPageSize;
  auto order = static_cast<unsigned>(std::bit_width(pages - 1));
  if (order > page_allocator::kMaxOrder) return fail(Errno::kNoMem);
  Block block{.start = ARIL_TRY(page_allocator::allocate_block(order, page_allocator::Fill::kZero)),
              .pages = pages};
  page_allocator::free_range(block.start + pages * kPageSize, (size_t{1} << order) - pages);
  // Each frame lives as long as the ring or a page table refers to it.
  for (size_t i = 0; i < pages; ++i) {
    Page& page = *page_allocator::page_of(block.start + i * kPageSize);
    page.link = 0;
    page.map_count.store(0, std::memory_order_relaxed);
    page.references.store(1, std::memory_order_relaxed);
  }
  return block;
}

void RingMemory::release(const Block& block) {
  for (size_t i = 0; i < block.pages; ++i)
    PageRef::adopt(page_allocator::page_of(block.start + i * kPageSize)).reset();
}

Result<RefPtr<RingMemory>> RingMemory::create(uint32_t sq_entries, uint32_t cq_entries) {
  RefPtr<RingMemory> memory = ARIL_TRY(try_make_ref<RingMemory>());
  size_t array_at = sizeof(RingHeader) + size_t{cq_entries} * sizeof(Completion);
  memory->rings_ = ARIL_TRY(allocate(array_at + size_t{sq_entries} * sizeof(uint32_t)));
  memory->entries_ = ARIL_TRY(allocate(size_t{sq_entries} * sizeof(Submission)));
  // The block is raw zeroed memory of the right size and alignment for the objects put into it.
  std::byte* base = arch::physical_to_virtual(memory->rings_.start);
  memory->header_ = new (base) RingHeader{};
  memory->completions_ = reinterpret_cast<Completion*>(base + sizeof(RingHeader));
  memory->array_ = reinterpret_cast<std::atomic<uint32_t>*>(base + array_at);
  memory->submissions_ =
      reinterpret_cast<const Submission*>(arch::physical_to_virtual(memory->entries_.start));
  RingHeader& header = *memory->header_;
  header.sq_ring_entries = sq_entries;
  header.sq_ring_mask = sq_entries - 1;
  header.cq_ring_entries = cq_entries;
  header.cq_ring_mask = cq_entries - 1;
  return memory;
}

RingMemory::~RingMemory() {
  release(rings_);
  release(entries_);
}

Result<PageRef> RingMemory::page(uint64_t index, PageAccess) {
  const Block* block = &rings_;
  if (index >= kOffsetSqes / kPageSize) {
    index -= kOffsetSqes / kPageSize;
    block = &entries_;
  } else if (index >= kOffsetCqRing / kPageSize) {
    index -= kOffsetCqRing / kPageSize;
  }
  if (index >= block->pages) return fail(Errno::kFault);
  Page* page = page_allocator::page_of(block->start + index * kPageSize);
  ARIL_ASSERT(page != nullptr);
  return PageRef::share(page);
}

void RingMemory::describe(Parameters& parameters) const {
  auto offset = [&](const void* field) {
    return static_cast<uint32_t>(static_cast<const std::byte*>(field) -
                                 reinterpret_cast<const std::byte*>(header_));
  };
  parameters.sq = SqOffsets{.head = offset(&header_->sq_head),
                            .tail = offset(&header_->sq_tail),
                            .ring_mask = offset(&header_->sq_ring_mask),
                            .ring_entries = offset(&header_->sq_ring_entries),
                            .flags = offset(&header_->sq_flags),
                            .dropped = offset(&header_->sq_dropped),
                            .array = offset(array_),
                            .reserved1 = 0,
                            .reserved2 = 0};
  parameters.cq = CqOffsets{.head = offset(&header_->cq_head),
                            .tail = offset(&header_->cq_tail),
                            .ring_mask = offset(&header_->cq_ring_mask),
                            .ring_entries = offset(&header_->cq_ring_entries),
                            .overflow = offset(&header_->cq_overflow),
                            .completions = offset(completions_),
                            .flags = offset(&header_->cq_flags),
                            .reserved1 = 0,
                            .reserved2 = 0};
}

}  // namespace aril::linux_abi::io_uring
