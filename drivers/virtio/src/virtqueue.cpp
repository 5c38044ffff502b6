#include "virtqueue.hpp"

#include <algorithm>
#include <bit>
#include <new>

#include "arch/device_fence.hpp"
#include "base/assert.hpp"
#include "base/units.hpp"

namespace aril::virtio {

Virtqueue::Virtqueue(Transport& transport, unsigned index, uint16_t size, bool event_index)
    : transport_(transport),
      index_(static_cast<uint16_t>(index)),
      size_(size),
      event_index_(event_index),
      free_count_(size) {}

Virtqueue::~Virtqueue() = default;

Result<std::unique_ptr<Virtqueue>> Virtqueue::create(Transport& transport, unsigned index,
                                                     uint16_t max_size, uint64_t features) {
  uint16_t limit = std::min({transport.queue_limit(index), max_size, kMaxQueueSize});
  if (limit == 0) return fail(Errno::kNoDev);
  uint16_t size = std::bit_floor(limit);
  std::unique_ptr<Virtqueue> queue(
      new (std::nothrow) Virtqueue(transport, index, size, (features & kFeatureEventIndex) != 0));
  if (queue == nullptr) return fail(Errno::kNoMem);
  ARIL_TRY(queue->allocate());
  auto physical = [&](const void* ring) {
    return queue->memory_.physical() +
           static_cast<size_t>(static_cast<const std::byte*>(ring) - queue->memory_.data());
  };
  ARIL_TRY(transport.start_queue(index, {.size = size,
                                         .descriptors = queue->memory_.physical(),
                                         .available = physical(queue->available_),
                                         .used = physical(queue->used_)}));
  return queue;
}

Result<void> Virtqueue::allocate() {
  // [virtio-1.2] 2.7: alignments 16, 2 and 4, sizes as there; the event fields always have room.
  size_t available_at = sizeof(Descriptor) * size_;
  size_t used_at = align_up(available_at + 6 + 2 * size_t{size_}, 4);
  size_t bytes = used_at + 6 + 8 * size_t{size_};
  slots_.reset(new (std::nothrow) Slot[size_]);
  if (slots_ == nullptr) return fail(Errno::kNoMem);
  for (uint16_t i = 0; i < size_; ++i) slots_[i] = {static_cast<uint16_t>(i + 1), 0, 0};
  ARIL_TRY(memory_.allocate(bytes));
  std::byte* rings = memory_.data();
  // The rings' layout in fresh memory, aligned to 64 bytes at least.
  descriptors_ = reinterpret_cast<Descriptor*>(rings);
  available_ = reinterpret_cast<uint16_t*>(rings + available_at);
  used_ = reinterpret_cast<uint16_t*>(rings + used_at);
  return {};
}

uint16_t Virtqueue::take_descriptor() {
  uint16_t descriptor = free_head_;
  free_head_ = slots_[descriptor].next;
  --free_count_;
  return descriptor;
}

void Virtqueue::make_available(uint16_t head, uint16_t count, uint32_t capacity) {
  slots_[head].count = count;
  slots_[head].capacity = capacity;
  // The device does not look at this entry before publish() moves the index over it.
  SharedIndex(available_[2 + (next_available_ & (size_ - 1))])
      .store(head, std::memory_order_relaxed);
  ++next_available_;
  ++outstanding_;
}

namespace {

/// Bytes that a device may write in all; a sum past 4 GiB is as good as the largest.
uint32_t total_length(std::span<const Virtqueue::Buffer> buffers) {
  uint32_t total = 0;
  for (const Virtqueue::Buffer& buffer : buffers) {
    if (__builtin_add_overflow(total, buffer.length, &total)) return ~uint32_t{0};
  }
  return total;
}

}  // namespace

std::optional<uint16_t> Virtqueue::add(std::span<const Buffer> readable,
                                       std::span<const Buffer> writable) {
  size_t count = readable.size() + writable.size();
  ARIL_ASSERT(count != 0);
  if (broken_ || count > free_count_) return std::nullopt;
  uint16_t head = free_head_;
  if (count == 1) {
    // As a small frame is, and room for one.
    const bool write = readable.empty();
    const Buffer& buffer = write ? writable.front() : readable.front();
    descriptors_[take_descriptor()] = {.address = buffer.address,
                                       .length = buffer.length,
                                       .flags = write ? kDescriptorWrite : uint16_t{0},
                                       .next = 0};
    make_available(head, 1, write ? buffer.length : 0);
    return head;
  }
  for (size_t i = 0; i < count; ++i) {
    bool write = i >= readable.size();
    const Buffer& buffer = write ? writable[i - readable.size()] : readable[i];
    uint16_t descriptor = take_descriptor();
    bool last = i + 1 == count;
    descriptors_[descriptor] = {.address = buffer.address,
                                .length = buffer.length,
                                .flags = static_cast<uint16_t>((write ? kDescriptorWrite : 0) |
                                                               (last ? 0 : kDescriptorNext)),
                                .next = last ? uint16_t{0} : free_head_};
  }
  make_available(head, static_cast<uint16_t>(count), total_length(writable));
  return head;
}

std::optional<uint16_t> Virtqueue::add_indirect(IndirectTable table,
                                                std::span<const Buffer> readable,
                                                std::span<const Buffer> writable) {
  size_t count = readable.size() + writable.size();
  ARIL_ASSERT(count != 0 && count <= table.entries.size());
  if (broken_ || free_count_ == 0) return std::nullopt;
  for (size_t i = 0; i < count; ++i) {
    bool write = i >= readable.size();
    const Buffer& buffer = write ? writable[i - readable.size()] : readable[i];
    bool last = i + 1 == count;
    table.entries[i] = {.address = buffer.address,
                        .length = buffer.length,
                        .flags = static_cast<uint16_t>((write ? kDescriptorWrite : 0) |
                                                       (last ? 0 : kDescriptorNext)),
                        .next = static_cast<uint16_t>(last ? 0 : i + 1)};
  }
  uint16_t head = take_descriptor();
  descriptors_[head] = {.address = table.address,
                        .length = static_cast<uint32_t>(count * sizeof(Descriptor)),
                        .flags = kDescriptorIndirect,
                        .next = 0};
  make_available(head, 1, total_length(writable));
  return head;
}

bool Virtqueue::publish() {
  uint16_t before = published_;
  if (before == next_available_) return false;
  published_ = next_available_;
  // [virtio-1.2] 2.7.13: descriptors and ring entries must be visible before the index, hence
  // release.
  available_index().store(published_, std::memory_order_release);
  // [virtio-1.2] 2.7.13.4.1: the index must be visible before the suppression is read, else both
  // sides could miss each other; only a full fence orders a store before a load.
  arch::device_fence();
  if (!event_index_) return (used_flags().load(std::memory_order_relaxed) & kUsedNoNotify) == 0;
  uint16_t event = available_event().load(std::memory_order_relaxed);
  // [virtio-1.2] 2.7.10: was the event index passed by this step?
  return static_cast<uint16_t>(published_ - event - 1) < static_cast<uint16_t>(published_ - before);
}

std::optional<Virtqueue::Used> Virtqueue::take_used() {
  if (broken_) return std::nullopt;
  // [virtio-1.2] 2.7.14: acquire, so that the entry and the buffers are read after the index that
  // covers them.
  uint16_t next = last_used_.load(std::memory_order_relaxed);
  uint16_t ready = used_index().load(std::memory_order_acquire) - next;
  if (ready == 0) return std::nullopt;
  if (ready > outstanding_) {
    ++violations_.index;
    broken_ = true;
    return std::nullopt;
  }
  // {id, len} as 32-bit words, 4-byte aligned by the layout. Each is read once: the device could
  // change it between a check and its use.
  auto* entry = reinterpret_cast<uint32_t*>(used_ + 2) + 2 * (next & (size_ - 1));
  uint32_t id = std::atomic_ref(entry[0]).load(std::memory_order_relaxed);
  uint32_t length = std::atomic_ref(entry[1]).load(std::memory_order_relaxed);
  if (id >= size_ || slots_[id].count == 0) {
    ++violations_.id;
    broken_ = true;
    return std::nullopt;
  }
  auto head = static_cast<uint16_t>(id);
  Slot& slot = slots_[head];
  if (length > slot.capacity) {
    ++violations_.length;
    length = 0;
  }
  uint16_t last = head;
  for (uint16_t i = 1; i < slot.count; ++i) last = slots_[last].next;
  slots_[last].next = free_head_;
  free_head_ = head;
  free_count_ += slot.count;
  slot.count = 0;
  last_used_.store(static_cast<uint16_t>(next + 1), std::memory_order_relaxed);
  --outstanding_;
  return Used{head, length};
}

bool Virtqueue::has_used() const {
  // Relaxed: only a hint; take_used orders.
  return used_index().load(std::memory_order_relaxed) != last_used_.load(std::memory_order_relaxed);
}

bool Virtqueue::is_drained() const {
  return used_index().load(std::memory_order_relaxed) == published_;
}

bool Virtqueue::arm_interrupt(uint16_t after) {
  interrupt_armed_ = true;
  for (;;) {
    uint16_t next = last_used_.load(std::memory_order_relaxed);
    if (event_index_) {
      used_event().store(static_cast<uint16_t>(next + after), std::memory_order_relaxed);
    } else {
      available_flags().store(0, std::memory_order_relaxed);
    }
    // [virtio-1.2] 2.7.14: after asking, look again: the device may have used a buffer just before
    // it saw the request. Store before load, hence the full fence.
    arch::device_fence();
    uint16_t ready = used_index().load(std::memory_order_relaxed) - next;
    // Had another thread taken chains meanwhile, the device could be past the index asked for.
    if (last_used_.load(std::memory_order_relaxed) == next) return ready <= after;
  }
}

void Virtqueue::disarm_interrupt() {
  if (!interrupt_armed_) return;
  interrupt_armed_ = false;
  if (event_index_) {
    // [virtio-1.2] 2.7.10: an index just passed is reached again only after 65536 further chains.
    used_event().store(static_cast<uint16_t>(last_used_.load(std::memory_order_relaxed) - 1),
                       std::memory_order_relaxed);
  } else {
    available_flags().store(kAvailNoInterrupt, std::memory_order_relaxed);
  }
}

}  // namespace aril::virtio
