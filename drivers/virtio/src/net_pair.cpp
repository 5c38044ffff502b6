#include "net_pair.hpp"

#include <new>

namespace aril::virtio {

Result<void> NetDriver::Pair::prepare() {
  // [virtio-1.2] 5.1.2: the pairs' queues alternate.
  receive_ = ARIL_TRY(device_.make_queue(2 * index_, device_.sizes_.receive_buffers));
  // A frame sent in pieces takes several descriptors.
  transmit_ = ARIL_TRY(device_.make_queue(2 * index_ + 1, device_.sizes_.transmit_slots * 4));
  ARIL_TRY(allocate());

  receive_->disarm_interrupt();
  transmit_->disarm_interrupt();
  for (unsigned buffer = 0; buffer < receive_->size(); ++buffer) give_back(buffer);
  return {};
}

void NetDriver::Pair::offer_buffers() {
  if (receive_->publish()) receive_->notify();
}

Result<void> NetDriver::Pair::allocate() {
  const uint16_t slots = device_.sizes_.transmit_slots;
  ARIL_TRY(receive_pool_.allocate(receive_->size(), kBufferSize));
  ARIL_TRY(transmit_pool_.allocate(slots, kBufferSize));
  buffer_of_head_.reset(new (std::nothrow) uint16_t[receive_->size()]);
  slot_of_head_.reset(new (std::nothrow) uint16_t[transmit_->size()]);
  slots_.reset(new (std::nothrow) TransmitSlot[slots]);
  free_slots_.reset(new (std::nothrow) uint16_t[slots]);
  if (buffer_of_head_ == nullptr || slot_of_head_ == nullptr || slots_ == nullptr ||
      free_slots_ == nullptr)
    return fail(Errno::kNoMem);
  if (device_.has(kNetGuestTso4 | kNetGuestTso6)) {
    staging_size_ = kMaxFrame;
  } else if (device_.merge_buffers_ && device_.mtu_ + kEthernetHeader > kSlotPayload) {
    staging_size_ = device_.mtu_ + kEthernetHeader;
  }
  if (staging_size_ != 0) {
    staging_.reset(new (std::nothrow) std::byte[staging_size_]);
    if (staging_ == nullptr) return fail(Errno::kNoMem);
  }
  // The last of the stack is used first: the low slots, which stay warm in the cache.
  for (uint16_t i = 0; i < slots; ++i) free_slots_[i] = static_cast<uint16_t>(slots - 1 - i);
  free_slot_count_ = slots;
  return {};
}

bool NetDriver::Pair::arm_interrupt() {
  if (device_.has_failed()) return true;
  // Before the device may interrupt, or the handler would take it for a spurious one.
  signal_.receive_armed.store(true, std::memory_order_release);
  bool quiet = receive_->arm_interrupt();
  if (quiet && signal_.transmit_blocked.load(std::memory_order_acquire)) {
    LockGuard guard(transmit_lock_);
    // Room that has been made since is left alone until the batch is done: filling it frame by
    // frame would keep the CPU busy for as long as the device is.
    quiet = transmit_armed_;
    if (!quiet) signal_.transmit_blocked.store(false, std::memory_order_relaxed);
  }
  if (quiet) return true;
  signal_.receive_armed.store(false, std::memory_order_relaxed);
  receive_->disarm_interrupt();
  return false;
}

}  // namespace aril::virtio
