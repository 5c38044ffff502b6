#include "block.hpp"

#include <algorithm>
#include <new>

#include "kernel/log/log.hpp"

namespace aril::virtio {

BlockDriver::BlockDriver(std::unique_ptr<Transport> transport, uint16_t slots, unsigned index)
    : Driver(std::move(transport)), slot_count_(slots) {
  // As Linux names them: vda .. vdz, vdaa ..
  char* end = name_.data();
  *end++ = 'v';
  *end++ = 'd';
  if (index >= 26) *end++ = static_cast<char>('a' + (index / 26 - 1) % 26);
  *end = static_cast<char>('a' + index % 26);
}

Result<void> BlockDriver::start() {
  ARIL_TRY(negotiate(kBlockSizeMax | kBlockSegmentMax | kBlockReadOnly | kBlockFlush |
                     kFeatureIndirect));
  sectors_.store(read_config64(kBlockConfigCapacity), std::memory_order_relaxed);
  if (has(kBlockSizeMax)) {
    // Whole sectors; a device that says less than one cannot mean it.
    uint32_t most = transport().read_config(kBlockConfigSizeMax, 4);
    max_segment_size_ = std::clamp<uint32_t>(most, kSectorSize, kMaxChunk) & ~(kSectorSize - 1);
  }
  // [virtio-1.2] 5.2.4: without the feature nothing is promised beyond one segment.
  if (has(kBlockSegmentMax))
    max_segments_ = std::max<uint32_t>(transport().read_config(kBlockConfigSegmentMax, 4), 1);

  ARIL_TRY(transport().connect_interrupts(*this, 1));
  queue_ = ARIL_TRY(make_queue(0, has(kFeatureIndirect) ? slot_count_ : 256));
  uint32_t table = has(kFeatureIndirect) ? kMaxSegments : queue_->size() - 2u;
  if (queue_->size() < 3 && !has(kFeatureIndirect)) return fail(Errno::kNoDev);
  max_segments_ = std::min<uint32_t>({max_segments_, kMaxSegments, table});

  ARIL_TRY(pool_.allocate(slot_count_, sizeof(SlotMemory)));
  request_of_slot_.reset(new (std::nothrow) Request*[slot_count_]());
  slot_of_head_.reset(new (std::nothrow) uint16_t[queue_->size()]);
  free_slots_.reset(new (std::nothrow) uint16_t[slot_count_]);
  if (request_of_slot_ == nullptr || slot_of_head_ == nullptr || free_slots_ == nullptr)
    return fail(Errno::kNoMem);
  for (uint16_t i = 0; i < slot_count_; ++i) free_slots_[free_slot_count_++] = i;
  set_live();
  return {};
}

Result<void> BlockDriver::read(uint64_t sector, std::span<const Segment> segments) {
  return transfer(kBlockIn, sector, segments);
}

Result<void> BlockDriver::write(uint64_t sector, std::span<const Segment> segments) {
  if (is_read_only()) return fail(Errno::kRoFs);
  return transfer(kBlockOut, sector, segments);
}

Result<void> BlockDriver::flush() {
  // [virtio-1.2] 5.2.6.2: without the feature the device writes through.
  if (!has(kBlockFlush) || is_read_only()) return {};
  Request request;
  ARIL_TRY(submit(request, kBlockFlushRequest, 0, {}));
  return wait(request);
}

Result<void> BlockDriver::transfer(uint32_t type, uint64_t sector,
                                   std::span<const Segment> segments) {
  uint64_t bytes = 0;
  for (const Segment& segment : segments) {
    if (segment.length % kSectorSize != 0) return fail(Errno::kInval);
    bytes += segment.length;
  }
  uint64_t sectors = bytes / kSectorSize;
  uint64_t capacity = sector_count();
  if (sector > capacity || capacity - sector < sectors) return fail(Errno::kInval);

  Request request;
  Cursor cursor{segments};
  Result<void> submitted;
  while (submitted) {
    Chunk chunk = next_chunk(cursor);
    if (chunk.count == 0) break;
    submitted = submit(request, type, sector, chunk);
    sector += chunk.length / kSectorSize;
  }
  // Also after a failure: the device may still be writing into the caller's memory.
  Result<void> done = wait(request);
  return submitted ? done : submitted;
}

BlockDriver::Chunk BlockDriver::next_chunk(Cursor& cursor) const {
  Chunk chunk;
  while (!cursor.segments.empty() && chunk.length < kMaxChunk) {
    const Segment& segment = cursor.segments.front();
    PhysicalAddress address = segment.address + cursor.offset;
    uint32_t length = std::min(segment.length - cursor.offset, kMaxChunk - chunk.length);
    Virtqueue::Buffer* last = chunk.count != 0 ? &chunk.pieces[chunk.count - 1] : nullptr;
    if (last != nullptr && last->address + last->length == address &&
        last->length < max_segment_size_) {
      length = std::min(length, max_segment_size_ - last->length);
      last->length += length;
    } else if (length != 0) {
      if (chunk.count == max_segments_) break;
      length = std::min(length, max_segment_size_);
      chunk.pieces[chunk.count++] = {address, length};
    }
    chunk.length += length;
    cursor.offset += length;
    if (cursor.offset == segment.length) {
      cursor.segments = cursor.segments.subspan(1);
      cursor.offset = 0;
    }
  }
  return chunk;
}

Result<void> BlockDriver::submit(Request& request, uint32_t type, uint64_t sector,
                                 const Chunk& chunk) {
  bool kick = false;
  auto try_once = [&] {
    LockGuard guard(lock_);
    if (has_failed()) return true;
    if (!submit_locked(request, type, sector, chunk)) return false;
    kick = queue_->publish();
    return true;
  };
  ARIL_TRY(progress_.wait_until(try_once, Instant::never(), Interruptible::kNo));
  if (kick) queue_->notify();
  if (has_failed()) return fail(Errno::kIo);
  return {};
}

bool BlockDriver::submit_locked(Request& request, uint32_t type, uint64_t sector,
                                const Chunk& chunk) {
  if (free_slot_count_ == 0) return false;
  uint16_t slot = free_slots_[free_slot_count_ - 1];
  SlotMemory& own = memory(slot);
  PhysicalAddress base = pool_.physical(slot);
  own.header = {.type = type, .reserved = 0, .sector = sector};
  own.status = 0xff;

  // [virtio-1.2] 5.2.6: header, data, status; what the device reads stands before what it writes.
  std::array<Virtqueue::Buffer, kMaxSegments + 2> buffers;
  size_t count = 0;
  buffers[count++] = {base + offsetof(SlotMemory, header), sizeof(BlockHeader)};
  for (size_t i = 0; i < chunk.count; ++i) buffers[count++] = chunk.pieces[i];
  buffers[count++] = {base + offsetof(SlotMemory, status), 1};
  size_t readable = type == kBlockIn ? 1 : count - 1;
  auto all = std::span(buffers).first(count);

  std::optional<uint16_t> head =
      has(kFeatureIndirect) ? queue_->add_indirect({own.table, base + offsetof(SlotMemory, table)},
                                                   all.first(readable), all.subspan(readable))
                            : queue_->add(all.first(readable), all.subspan(readable));
  if (!head) return false;
  --free_slot_count_;
  slot_of_head_[*head] = slot;
  request_of_slot_[slot] = &request;
  ++request.pending;
  return true;
}

Result<void> BlockDriver::wait(Request& request) {
  auto is_done = [&] {
    LockGuard guard(lock_);
    return request.pending == 0;
  };
  ARIL_TRY(progress_.wait_until(is_done, Instant::never(), Interruptible::kNo));
  return request.failed ? Result<void>(fail(Errno::kIo)) : Result<void>();
}

void BlockDriver::complete_locked() {
  do {
    while (std::optional<Virtqueue::Used> used = queue_->take_used()) {
      uint16_t slot = slot_of_head_[used->head];
      Request& request = *std::exchange(request_of_slot_[slot], nullptr);
      if (memory(slot).status != kBlockStatusOk) request.failed = true;
      --request.pending;
      free_slots_[free_slot_count_++] = slot;
    }
  } while (!queue_->is_broken() && !queue_->arm_interrupt());
}

void BlockDriver::on_queue_interrupt(unsigned) {
  bool broken;
  {
    LockGuard guard(lock_);
    if (has_failed()) return;
    complete_locked();
    broken = queue_->is_broken();
  }
  if (broken) {
    fail_device("the disk broke the ring protocol");
    on_failed();
    return;
  }
  progress_.wake_all();
}

void BlockDriver::on_failed() {
  {
    LockGuard guard(lock_);
    for (unsigned slot = 0; slot < slot_count_; ++slot) {
      Request* request = std::exchange(request_of_slot_[slot], nullptr);
      if (request == nullptr) continue;
      request->failed = true;
      --request->pending;
    }
  }
  progress_.wake_all();
}

void BlockDriver::on_config_change() {
  sectors_.store(read_config64(kBlockConfigCapacity), std::memory_order_relaxed);
}

}  // namespace aril::virtio
