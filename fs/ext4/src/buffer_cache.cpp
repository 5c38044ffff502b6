#include "buffer_cache.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <new>

namespace aril::ext4 {

Result<void> BufferCache::initialize() {
  // At most 1/16 of RAM holds clean metadata; what the journal needs comes on top.
  size_t limit = std::clamp<size_t>(page_allocator::statistics().total_pages / 16, 256, 65536);
  unsigned bits = static_cast<unsigned>(std::bit_width(limit - 1));
  bucket_count_ = size_t{1} << bits;
  shift_ = 64 - bits;
  buckets_.reset(new (std::nothrow) Buffer* [bucket_count_] {});
  if (!buckets_) return fail(Errno::kNoMem);
  return {};
}

BufferCache::~BufferCache() {
  while (Buffer* buffer = by_age_.front()) {
    if (buffer->running_node_.is_linked()) buffer->running_node_.unlink();
    if (buffer->committing_node_.is_linked()) buffer->committing_node_.unlink();
    if (buffer->checkpoint_node_.is_linked()) buffer->checkpoint_node_.unlink();
    remove(*buffer);
  }
}

Buffer* BufferCache::find(uint64_t block) {
  for (Buffer* buffer = bucket_of(block); buffer != nullptr; buffer = buffer->next_in_bucket_) {
    if (buffer->block_ == block) return buffer;
  }
  return nullptr;
}

Result<BufferRef> BufferCache::insert(uint64_t block, PageRef page) {
  if (count_ > bucket_count_) shrink(8);
  auto* buffer = new (std::nothrow) Buffer;
  if (buffer == nullptr) return fail(Errno::kNoMem);
  buffer->block_ = block;
  buffer->page_ = std::move(page);
  Buffer*& bucket = bucket_of(block);
  buffer->next_in_bucket_ = bucket;
  bucket = buffer;
  by_age_.push_back(*buffer);
  ++count_;
  return BufferRef(*buffer);
}

Result<BufferRef> BufferCache::get(uint64_t block) {
  if (Buffer* buffer = find(block)) {
    touch(*buffer);
    return BufferRef(*buffer);
  }
  PageRef page = ARIL_TRY(page_allocator::allocate(page_allocator::Fill::kNone));
  if (!disk_.read_block(block, *page)) return fail(Errno::kIo);
  return insert(block, std::move(page));
}

Result<BufferRef> BufferCache::get_fresh(uint64_t block) {
  PageRef page = ARIL_TRY(page_allocator::allocate(page_allocator::Fill::kZero));
  if (Buffer* buffer = find(block)) {
    // Its last life as metadata has ended; what the journal still holds of it is not disturbed.
    buffer->page_ = std::move(page);
    buffer->is_verified = false;
    buffer->seal = Seal::kNone;
    touch(*buffer);
    return BufferRef(*buffer);
  }
  return insert(block, std::move(page));
}

void BufferCache::read_ahead(uint64_t block, unsigned count) {
  static constexpr unsigned kMost = 16;
  std::array<PageRef, kMost> pages;
  std::array<BlockDevice::Segment, kMost> segments;
  count = std::min(count, kMost);
  unsigned got = 0;
  while (got < count && find(block + got) == nullptr) {
    Result<PageRef> page = page_allocator::allocate(page_allocator::Fill::kNone);
    if (!page) break;
    segments[got] = {(*page)->physical(), disk_.block_size()};
    pages[got++] = std::move(*page);
  }
  if (got < 2 || !disk_.read(block, std::span(segments).first(got))) return;
  for (unsigned i = 0; i < got; ++i) (void)insert(block + i, std::move(pages[i]));
}

void BufferCache::remove(Buffer& buffer) {
  Buffer** link = &bucket_of(buffer.block_);
  while (*link != &buffer) link = &(*link)->next_in_bucket_;
  *link = buffer.next_in_bucket_;
  by_age_.remove(buffer);
  --count_;
  delete &buffer;
}

size_t BufferCache::shrink(size_t count) {
  size_t freed = 0;
  // A bounded look: buffers in use go to the young end.
  size_t look = std::min<size_t>(count_, count * 4);
  for (size_t i = 0; i < look && freed < count; ++i) {
    Buffer& oldest = *by_age_.front();
    if (oldest.is_clean()) {
      remove(oldest);
      ++freed;
    } else {
      touch(oldest);
    }
  }
  return freed;
}

}  // namespace aril::ext4
