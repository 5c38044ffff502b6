#include "receive_queue.hpp"

#include <algorithm>
#include <cstring>

namespace aril::net {

Result<void> ReceiveQueue::store(uint32_t sequence, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    uint32_t position = sequence - origin_;
    size_t index = position / Block::kCapacity, offset = position % Block::kCapacity;
    while (blocks_.size() <= index)
      if (blocks_.add_back() == nullptr) return fail(Errno::kNoMem);
    if (!blocks_[index]) {
      blocks_[index] = ARIL_TRY(context_.blocks.whole.allocate());
      context_.memory.charge(kBlockCharge);
    }
    size_t count = std::min(bytes.size(), Block::kCapacity - offset);
    std::memcpy(blocks_[index]->data() + offset, bytes.data(), count);
    bytes = bytes.subspan(count);
    sequence += static_cast<uint32_t>(count);
  }
  return {};
}

ReceiveQueue::Added ReceiveQueue::add(uint32_t sequence, std::span<const std::byte> bytes) {
  uint32_t end = sequence + static_cast<uint32_t>(bytes.size());
  if (sequence_at_most(end, next_)) return Added::kDuplicate;
  if (sequence_before(sequence, next_)) {
    bytes = bytes.subspan(next_ - sequence);
    sequence = next_;
  }
  // What was stored before stays as it was: the application may be looking at it, and a second
  // version of the same bytes is an attacker's.
  if (sequence == next_) {
    if (range_count_ != 0 && sequence_after(end, ranges_[0].start)) {
      if (!store(sequence, bytes.first(ranges_[0].start - sequence))) return Added::kNoMemory;
      next_ = ranges_[0].start;
      uint32_t joined = ranges_[0].end;
      absorb_ranges();
      if (sequence_after(end, joined)) return add(joined, bytes.subspan(joined - sequence));
      return Added::kInOrder;
    }
    if (!store(sequence, bytes)) return Added::kNoMemory;
    next_ = end;
    absorb_ranges();
    return Added::kInOrder;
  }
  for (size_t i = 0; i < range_count_; ++i) {
    if (sequence_at_most(ranges_[i].start, sequence) && sequence_at_most(end, ranges_[i].end)) {
      ranges_[i].stamp = ++stamp_;
      return Added::kDuplicate;
    }
  }
  if (!note_range(sequence, end)) return Added::kTooManyGaps;
  if (!store(sequence, bytes)) {
    prune();
    return Added::kNoMemory;
  }
  return Added::kAhead;
}

// Merges [start, end) with the ranges that it overlaps or touches.
bool ReceiveQueue::note_range(uint32_t start, uint32_t end) {
  size_t first = 0;
  while (first < range_count_ && sequence_before(ranges_[first].end, start)) ++first;
  size_t last = first;
  while (last < range_count_ && sequence_at_most(ranges_[last].start, end)) {
    start = sequence_min(start, ranges_[last].start);
    end = sequence_max(end, ranges_[last].end);
    ++last;
  }
  if (first == last) {
    if (range_count_ == kMaxRanges) return false;
    std::copy_backward(ranges_.begin() + first, ranges_.begin() + range_count_,
                       ranges_.begin() + range_count_ + 1);
    ++range_count_;
  } else {
    std::copy(ranges_.begin() + last, ranges_.begin() + range_count_, ranges_.begin() + first + 1);
    range_count_ -= last - first - 1;
  }
  ranges_[first] = {start, end, ++stamp_};
  return true;
}

void ReceiveQueue::absorb_ranges() {
  size_t absorbed = 0;
  while (absorbed < range_count_ && sequence_at_most(ranges_[absorbed].start, next_)) {
    next_ = sequence_max(next_, ranges_[absorbed].end);
    ++absorbed;
  }
  if (absorbed == 0) return;
  std::copy(ranges_.begin() + absorbed, ranges_.begin() + range_count_, ranges_.begin());
  range_count_ -= absorbed;
}

Result<BlockChain> ReceiveQueue::peek(size_t limit, size_t skip) const {
  BlockChain chain;
  size_t readable_bytes = readable();
  if (skip >= readable_bytes) return chain;
  size_t left = std::min(limit, readable_bytes - skip);
  size_t position = read_ - origin_ + skip;
  while (left != 0) {
    RefPtr<Block>& block = blocks_[position / Block::kCapacity];
    size_t offset = position % Block::kCapacity;
    auto count = static_cast<uint32_t>(std::min(left, Block::kCapacity - offset));
    ARIL_TRY(chain.append({block, block->data() + offset, count}));
    position += count;
    left -= count;
  }
  return chain;
}

size_t ReceiveQueue::copy_to(std::span<std::byte> out) const {
  size_t total = std::min(out.size(), readable());
  size_t position = read_ - origin_;
  for (size_t done = 0; done < total;) {
    size_t offset = position % Block::kCapacity;
    size_t count = std::min(total - done, Block::kCapacity - offset);
    std::memcpy(out.data() + done, blocks_[position / Block::kCapacity]->data() + offset, count);
    done += count;
    position += count;
  }
  return total;
}

void ReceiveQueue::consume(size_t count) {
  ARIL_ASSERT(count <= readable());
  read_ += static_cast<uint32_t>(count);
  if (read_ == next_ && range_count_ == 0) {
    release_from(0);
    blocks_.clear();
    origin_ = read_;
    return;
  }
  while (read_ - origin_ >= Block::kCapacity) {
    release(blocks_.front());
    blocks_.pop_front();
    origin_ += Block::kCapacity;
  }
}

void ReceiveQueue::release_from(size_t block_index) {
  while (blocks_.size() > block_index) {
    release(blocks_.back());
    blocks_.pop_back();
  }
}

void ReceiveQueue::release(RefPtr<Block>& block) {
  if (!block) return;
  context_.memory.release(kBlockCharge);
  context_.blocks.whole.recycle(std::move(block));
}

void ReceiveQueue::prune() {
  range_count_ = 0;
  release_from((next_ - origin_ + Block::kCapacity - 1) / Block::kCapacity);
}

void ReceiveQueue::clear() {
  range_count_ = 0;
  release_from(0);
  blocks_.clear();
  origin_ = read_ = next_;
}

size_t ReceiveQueue::sack_blocks(std::span<SackBlock> out) const {
  size_t count = std::min(out.size(), range_count_);
  uint32_t below = ~0u;
  for (size_t i = 0; i < count; ++i) {
    const Range* newest = nullptr;
    for (size_t j = 0; j < range_count_; ++j) {
      uint32_t stamp = ranges_[j].stamp;
      if (stamp < below && (newest == nullptr || stamp > newest->stamp)) newest = &ranges_[j];
    }
    if (newest == nullptr) return i;
    out[i] = {newest->start, newest->end};
    below = newest->stamp;
  }
  return count;
}

}  // namespace aril::net
