#include "ninep.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace aril::virtio {

Result<void> NinepDriver::start() {
  ARIL_TRY(negotiate(kNinepMountTag | kFeatureIndirect));
  if (has(kNinepMountTag)) {
    size_t length =
        std::min<size_t>(transport().read_config(kNinepConfigTagLength, 2), tag_.size() - 1);
    for (unsigned i = 0; i < length; ++i)
      tag_[i] = static_cast<char>(transport().read_config(kNinepConfigTag + i, 1));
  }
  ARIL_TRY(transport().connect_interrupts(*this, 1));
  queue_ = ARIL_TRY(make_queue(0, 128));
  ARIL_TRY(pool_.allocate(kSlots, sizeof(SlotMemory)));
  slot_of_head_.reset(new (std::nothrow) uint16_t[queue_->size()]);
  if (slot_of_head_ == nullptr) return fail(Errno::kNoMem);
  for (uint16_t i = 0; i < kSlots; ++i) free_slots_[free_slot_count_++] = i;
  set_live();
  return {};
}

Result<size_t> NinepDriver::exchange(std::span<const Segment> message,
                                     std::span<const Segment> answer) {
  if (message.empty() || answer.empty() || message.size() + answer.size() > kMaxSegments)
    return fail(Errno::kInval);
  std::array<Virtqueue::Buffer, kMaxSegments> buffers;
  size_t count = 0;
  for (const Segment& segment : message) buffers[count++] = {segment.address, segment.length};
  for (const Segment& segment : answer) buffers[count++] = {segment.address, segment.length};
  std::span<const Virtqueue::Buffer> readable(buffers.data(), message.size());
  std::span<const Virtqueue::Buffer> writable(buffers.data() + message.size(), answer.size());

  Request request;
  bool kick = false;
  auto submit = [&] {
    LockGuard guard(lock_);
    if (has_failed()) return true;
    if (!submit_locked(request, readable, writable)) return false;
    kick = queue_->publish();
    return true;
  };
  // Not interruptible: until the answer is there the server may write into the caller's memory.
  ARIL_TRY(progress_.wait_until(submit, Instant::never(), Interruptible::kNo));
  if (kick) queue_->notify();
  auto is_done = [&] {
    LockGuard guard(lock_);
    return request.done || has_failed();
  };
  ARIL_TRY(progress_.wait_until(is_done, Instant::never(), Interruptible::kNo));
  LockGuard guard(lock_);
  if (!request.done || request.failed) return fail(Errno::kIo);
  return request.length;
}

bool NinepDriver::submit_locked(Request& request, std::span<const Virtqueue::Buffer> message,
                                std::span<const Virtqueue::Buffer> answer) {
  if (free_slot_count_ == 0) return false;
  uint16_t slot = free_slots_[free_slot_count_ - 1];
  // The pool's buffers hold exactly this.
  auto& memory = *reinterpret_cast<SlotMemory*>(pool_.data(slot));
  std::optional<uint16_t> head =
      has(kFeatureIndirect)
          ? queue_->add_indirect({memory.table, pool_.physical(slot)}, message, answer)
          : queue_->add(message, answer);
  if (!head) return false;
  --free_slot_count_;
  slot_of_head_[*head] = slot;
  request_of_slot_[slot] = &request;
  return true;
}

void NinepDriver::on_queue_interrupt(unsigned) {
  bool broken;
  {
    LockGuard guard(lock_);
    if (has_failed()) return;
    do {
      while (std::optional<Virtqueue::Used> used = queue_->take_used()) {
        uint16_t slot = slot_of_head_[used->head];
        Request& request = *std::exchange(request_of_slot_[slot], nullptr);
        request.length = used->length;
        request.done = true;
        free_slots_[free_slot_count_++] = slot;
      }
    } while (!queue_->is_broken() && !queue_->arm_interrupt());
    broken = queue_->is_broken();
  }
  if (broken) {
    fail_device("the volume's device broke the ring protocol");
    on_failed();
    return;
  }
  progress_.wake_all();
}

void NinepDriver::on_failed() {
  {
    LockGuard guard(lock_);
    for (Request*& request : request_of_slot_) {
      if (request == nullptr) continue;
      request->failed = request->done = true;
      request = nullptr;
    }
  }
  progress_.wake_all();
}

}  // namespace aril::virtio
