#include "net.hpp"

#include <algorithm>
#include <new>

#include "base/units.hpp"
#include "kernel/memory/page_allocator.hpp"
#include "kernel/random/random.hpp"

namespace aril::virtio {

NetDriver::Sizes NetDriver::sizes_for(size_t total_ram) {
  if (total_ram < 32 * kMiB) return {.receive_buffers = 64, .transmit_slots = 32};
  if (total_ram < 256 * kMiB)
    return {.receive_buffers = 128, .transmit_slots = 64, .merge_segments = true};
  return {.receive_buffers = 256, .transmit_slots = 128, .merge_segments = true};
}

Result<void> NetDriver::start() {
  uint64_t wanted = kNetChecksum | kNetGuestChecksum | kNetMtu | kNetMac | kNetHostTso4 |
                    kNetHostTso6 | kNetMergeBuffers | kNetStatus;
  // Merged segments need buffers that merge too: single buffers of 64 KiB would waste memory. The
  // offer is looked at first because the two cannot be accepted independently.
  bool merging = (transport().offered_features() & kNetMergeBuffers) != 0;
  if (merging && sizes_.merge_segments) wanted |= kNetGuestTso4 | kNetGuestTso6;
  ARIL_TRY(negotiate(wanted));
  merge_buffers_ = has(kNetMergeBuffers);
  read_config();

  ARIL_TRY(transport().connect_interrupts(*this, 2));
  receive_ = ARIL_TRY(make_queue(kReceiveQueue, sizes_.receive_buffers));
  // A frame sent in pieces takes several descriptors.
  transmit_ = ARIL_TRY(make_queue(kTransmitQueue, sizes_.transmit_slots * 4));
  ARIL_TRY(allocate());

  receive_->disarm_interrupt();
  transmit_->disarm_interrupt();
  for (unsigned buffer = 0; buffer < receive_->size(); ++buffer) give_back(buffer);
  set_live();
  if (receive_->publish()) receive_->notify();
  return {};
}

Result<void> NetDriver::allocate() {
  ARIL_TRY(receive_pool_.allocate(receive_->size(), kBufferSize));
  ARIL_TRY(transmit_pool_.allocate(sizes_.transmit_slots, kBufferSize));
  buffer_of_head_.reset(new (std::nothrow) uint16_t[receive_->size()]);
  slot_of_head_.reset(new (std::nothrow) uint16_t[transmit_->size()]);
  slots_.reset(new (std::nothrow) TransmitSlot[sizes_.transmit_slots]);
  free_slots_.reset(new (std::nothrow) uint16_t[sizes_.transmit_slots]);
  if (buffer_of_head_ == nullptr || slot_of_head_ == nullptr || slots_ == nullptr ||
      free_slots_ == nullptr)
    return fail(Errno::kNoMem);
  if (has(kNetGuestTso4 | kNetGuestTso6)) {
    staging_size_ = kMaxFrame;
  } else if (merge_buffers_ && mtu_ + kEthernetHeader > kSlotPayload) {
    staging_size_ = mtu_ + kEthernetHeader;
  }
  if (staging_size_ != 0) {
    staging_.reset(new (std::nothrow) std::byte[staging_size_]);
    if (staging_ == nullptr) return fail(Errno::kNoMem);
  }
  // The last of the stack is used first: the low slots, which stay warm in the cache.
  for (uint16_t i = 0; i < sizes_.transmit_slots; ++i)
    free_slots_[i] = static_cast<uint16_t>(sizes_.transmit_slots - 1 - i);
  free_slot_count_ = sizes_.transmit_slots;
  return {};
}

void NetDriver::read_config() {
  if (has(kNetMac)) {
    for (unsigned i = 0; i < mac_.size(); ++i)
      mac_[i] = static_cast<uint8_t>(transport().read_config(kNetConfigMac + i, 1));
  } else {
    random::fill(std::as_writable_bytes(std::span(mac_)));
    mac_[0] = static_cast<uint8_t>((mac_[0] | 2) & ~1);  // locally administered, not a group
  }
  if (has(kNetMtu)) {
    uint32_t mtu = transport().read_config(kNetConfigMtu, 2);
    // A frame must fit into one buffer where they do not merge. Below 68 there is no IPv4
    // [RFC 791] 3.2.
    uint32_t most = (merge_buffers_ ? kMaxFrame : kSlotPayload) - kEthernetHeader;
    mtu_ = std::clamp<uint32_t>(mtu, 68, most);
  }
  if (has(kNetChecksum)) {
    offloads_ |= NetOffload::kTxChecksum;
    // [virtio-1.2] 5.1.3.1: segmentation needs the checksum feature.
    if (has(kNetHostTso4)) offloads_ |= NetOffload::kTsoIpv4;
    if (has(kNetHostTso6)) offloads_ |= NetOffload::kTsoIpv6;
  }
  if (has(kNetGuestChecksum)) offloads_ |= NetOffload::kRxChecksum;
  if (has(kNetGuestTso4 | kNetGuestTso6)) offloads_ |= NetOffload::kRxGro;
  on_config_change();
}

void NetDriver::on_config_change() {
  if (!has(kNetStatus)) return;
  bool up = (transport().read_config(kNetConfigStatus, 2) & kNetStatusLinkUp) != 0;
  if (link_up_.exchange(up, std::memory_order_relaxed) != up) wake();
}

void NetDriver::set_callback(void (*callback)(void*), void* context) {
  callback_context_ = context;
  // Release: the interrupt handler that sees the function sees its context.
  callback_.store(callback, std::memory_order_release);
}

void NetDriver::wake() {
  if (auto callback = callback_.load(std::memory_order_acquire); callback != nullptr)
    callback(callback_context_);
}

void NetDriver::on_queue_interrupt(unsigned queue) {
  // Acquire and release pair with the arming thread: its callback runs for what it armed.
  std::atomic<bool>& armed = queue == kReceiveQueue ? receive_armed_ : transmit_blocked_;
  if (armed.load(std::memory_order_relaxed) && armed.exchange(false, std::memory_order_acq_rel))
    wake();
}

bool NetDriver::arm_interrupt() {
  if (has_failed()) return true;
  // Before the device may interrupt, or the handler would take it for a spurious one.
  receive_armed_.store(true, std::memory_order_release);
  bool quiet = receive_->arm_interrupt();
  if (quiet && transmit_blocked_.load(std::memory_order_acquire)) {
    LockGuard guard(transmit_lock_);
    // Room that has been made since is left alone until the batch is done: filling it frame by
    // frame would keep the CPU busy for as long as the device is.
    quiet = transmit_armed_;
    if (!quiet) transmit_blocked_.store(false, std::memory_order_relaxed);
  }
  if (quiet) return true;
  receive_armed_.store(false, std::memory_order_relaxed);
  receive_->disarm_interrupt();
  return false;
}

void NetDriver::broken(const char* what) {
  if (has_failed()) return;
  fail_device(what);
  on_failed();
}

}  // namespace aril::virtio
