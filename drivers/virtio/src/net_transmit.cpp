#include <algorithm>
#include <cstring>
#include <new>

#include "net.hpp"

namespace aril::virtio {

/// A frame on its way into the ring.
struct NetDriver::Outgoing {
  NetHeader header;
  /// Copied into the slot behind the header: `copied` pieces, of `copied_length` bytes in all.
  std::span<const TxFrame::Piece> copied;
  size_t copied_length = 0;
  /// Sent from where they lie.
  std::span<const TxFrame::Piece> referenced;
  Release release;
  /// Owns what `referenced` points to, when the frame was copied to the heap.
  std::unique_ptr<std::byte[]> copy;
};

Result<NetHeader> NetDriver::make_header(const TxFrame& frame, size_t length) const {
  NetHeader header{};
  if (frame.checksum_start != 0) {
    if (!has(kNetChecksum) ||
        size_t{frame.checksum_start} + frame.checksum_offset + sizeof(uint16_t) > length)
      return fail(Errno::kInval);
    header.flags = kNetNeedsChecksum;
    header.checksum_start = frame.checksum_start;
    header.checksum_offset = frame.checksum_offset;
  }
  if (frame.segment_size != 0) {
    // [virtio-1.2] 5.1.6.2: segmentation builds on the checksum.
    bool offered = has(frame.is_ipv6 ? kNetHostTso6 : kNetHostTso4);
    if (!offered || frame.checksum_start == 0 || frame.header_length >= length)
      return fail(Errno::kInval);
    header.gso_type = frame.is_ipv6 ? kGsoTcp6 : kGsoTcp4;
    header.gso_size = frame.segment_size;
    header.header_length = frame.header_length;
  }
  return header;
}

Result<void> NetDriver::transmit(const TxFrame& frame, void (*release)(void*), void* context) {
  if (has_failed()) return fail(Errno::kIo);
  size_t length = 0;
  for (const TxFrame::Piece& piece : frame.pieces) length += piece.length;
  if (length < kEthernetHeader || length > kMaxFrame) return fail(Errno::kInval);

  Outgoing outgoing{.header = ARIL_TRY(make_header(frame, length))};
  TxFrame::Piece whole;
  bool keeps_pieces = false;
  if (length <= kCopyLimit || (release == nullptr && length <= kSlotPayload)) {
    outgoing.copied = frame.pieces;
  } else if (release != nullptr &&
             frame.pieces.size() < std::min<size_t>(kMaxPieces, transmit_->size())) {
    // The first piece holds the protocol headers, which the caller may have built on its stack:
    // they are copied, where they are as small as headers are.
    bool copy_first = frame.pieces.front().length <= kCopyLimit;
    outgoing.copied = frame.pieces.first(copy_first ? 1 : 0);
    outgoing.referenced = frame.pieces.subspan(copy_first ? 1 : 0);
    outgoing.release = {release, context};
    keeps_pieces = true;
  } else {
    outgoing.copy.reset(new (std::nothrow) std::byte[length]);
    if (outgoing.copy == nullptr) return fail(Errno::kNoBufs);
    size_t at = 0;
    for (const TxFrame::Piece& piece : frame.pieces) {
      std::copy_n(piece.data, piece.length, outgoing.copy.get() + at);
      at += piece.length;
    }
    whole = {outgoing.copy.get(), static_cast<uint32_t>(length)};
    outgoing.referenced = {&whole, 1};
  }
  for (const TxFrame::Piece& piece : outgoing.copied) outgoing.copied_length += piece.length;

  Releases releases;
  bool queued;
  bool kick = false;
  {
    LockGuard guard(transmit_lock_);
    // Seldom enough that finished frames come in batches, early enough that the ring never fills
    // while the device keeps up.
    if (free_slot_count_ <= sizes_.transmit_slots / 2) reclaim_locked(releases);
    queued = queue_locked(outgoing);
    if (!queued) {
      ++counters_.transmit_full;
      // What is queued must be under way, or no interrupt would ever come.
      kick = transmit_->publish();
      // Told when most of it is gone, so that a batch can follow. Anything already done lets the
      // caller go on at once.
      bool others_wait = transmit_blocked_.exchange(true, std::memory_order_acq_rel);
      if (!transmit_->arm_interrupt(transmit_->outstanding() / 2)) {
        reclaim_locked(releases);
        queued = queue_locked(outgoing);
        if (queued && !others_wait) transmit_blocked_.store(false, std::memory_order_relaxed);
      }
    }
    if (!transmit_blocked_.load(std::memory_order_relaxed)) transmit_->disarm_interrupt();
  }
  if (kick) transmit_->notify();
  releases.run();
  if (transmit_->is_broken()) broken("the device broke the transmit ring's protocol");
  if (!queued) return fail(has_failed() ? Errno::kIo : Errno::kAgain);
  if (release != nullptr && !keeps_pieces) release(context);
  return {};
}

bool NetDriver::queue_locked(Outgoing& outgoing) {
  if (free_slot_count_ == 0 || transmit_->free_descriptors() < outgoing.referenced.size() + 1)
    return false;
  uint16_t slot = free_slots_[free_slot_count_ - 1];
  std::byte* buffer = transmit_pool_.data(slot);
  std::memcpy(buffer, &outgoing.header, sizeof(NetHeader));
  size_t at = sizeof(NetHeader);
  for (const TxFrame::Piece& piece : outgoing.copied) {
    std::copy_n(piece.data, piece.length, buffer + at);
    at += piece.length;
  }
  std::array<Virtqueue::Buffer, kMaxPieces + 1> buffers;
  size_t count = 0;
  buffers[count++] = {transmit_pool_.physical(slot), static_cast<uint32_t>(at)};
  for (const TxFrame::Piece& piece : outgoing.referenced) {
    if (piece.length != 0) buffers[count++] = {arch::virtual_to_physical(piece.data), piece.length};
  }
  std::optional<uint16_t> head = transmit_->add(std::span(buffers).first(count), {});
  if (!head) return false;
  --free_slot_count_;
  slot_of_head_[*head] = slot;
  slots_[slot].release = outgoing.release;
  slots_[slot].copy = std::move(outgoing.copy);
  return true;
}

void NetDriver::flush_transmit() {
  if (has_failed()) return;
  bool kick;
  {
    LockGuard guard(transmit_lock_);
    kick = transmit_->publish();
  }
  // Outside the lock: the notification leaves the virtual machine.
  if (kick) transmit_->notify();
}

bool NetDriver::reclaim_locked(Releases& releases) {
  while (releases.count < releases.calls.size()) {
    std::optional<Virtqueue::Used> used = transmit_->take_used();
    if (!used) return false;
    uint16_t slot = slot_of_head_[used->head];
    if (slots_[slot].release.function != nullptr)
      releases.calls[releases.count++] = std::exchange(slots_[slot].release, {});
    if (slots_[slot].copy != nullptr) {
      // Freed with the other releases, without the lock.
      releases.calls[releases.count++] = {
          [](void* copy) { delete[] static_cast<std::byte*>(copy); }, slots_[slot].copy.release()};
    }
    free_slots_[free_slot_count_++] = slot;
  }
  return true;
}

void NetDriver::abandon() {
  if (!device_is_stopped() || slots_ == nullptr) return;
  for (unsigned slot = 0; slot < sizes_.transmit_slots; ++slot) {
    Release release;
    {
      LockGuard guard(transmit_lock_);
      release = std::exchange(slots_[slot].release, {});
    }
    if (release.function != nullptr) release.function(release.context);
  }
}

void NetDriver::reclaim() {
  if (transmit_->outstanding() == 0) return;
  bool more = true;
  while (more) {
    Releases releases;
    {
      LockGuard guard(transmit_lock_);
      more = reclaim_locked(releases);
    }
    releases.run();
  }
  if (transmit_->is_broken()) broken("the device broke the transmit ring's protocol");
}

}  // namespace aril::virtio
