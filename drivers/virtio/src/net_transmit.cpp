#include <algorithm>
#include <cstring>
#include <new>

#include "net_pair.hpp"

namespace aril::virtio {

/// A frame on its way into the ring. Not moved: `referenced` may point into it.
struct NetDriver::Pair::Outgoing {
  NetHeader header{};
  /// Copied into the slot behind the header.
  std::span<const TxFrame::Piece> copied;
  /// Sent from where they lie.
  std::span<const TxFrame::Piece> referenced;
  /// To be called when the device is done with `referenced`.
  Release release = {};
  /// The whole frame on the heap, when it had to be copied there, and as a piece.
  std::unique_ptr<std::byte[]> copy;
  TxFrame::Piece copy_piece{};
};

Result<NetHeader> NetDriver::Pair::make_header(const TxFrame& frame, size_t length) const {
  NetHeader header{};
  if (frame.checksum_start != 0) {
    if (!device_.has(kNetChecksum) ||
        size_t{frame.checksum_start} + frame.checksum_offset + sizeof(uint16_t) > length)
      return fail(Errno::kInval);
    header.flags = kNetNeedsChecksum;
    header.checksum_start = frame.checksum_start;
    header.checksum_offset = frame.checksum_offset;
  }
  if (frame.segment_size != 0) {
    // [virtio-1.2] 5.1.6.2: segmentation builds on the checksum.
    bool offered = device_.has(frame.is_datagram ? kNetHostUfo
                               : frame.is_ipv6   ? kNetHostTso6
                                                 : kNetHostTso4);
    if (!offered || frame.checksum_start == 0 || frame.header_length >= length)
      return fail(Errno::kInval);
    header.gso_type = frame.is_datagram ? kGsoUdp : frame.is_ipv6 ? kGsoTcp6 : kGsoTcp4;
    header.gso_size = frame.segment_size;
    header.header_length = frame.header_length;
  }
  return header;
}

Result<void> NetDriver::Pair::prepare(const TxFrame& frame, Release release, Outgoing& out) const {
  size_t length = 0;
  for (const TxFrame::Piece& piece : frame.pieces) length += piece.length;
  if (length < kEthernetHeader || length > kMaxFrame) return fail(Errno::kInval);
  out.header = ARIL_TRY(make_header(frame, length));

  bool may_reference = release.function != nullptr;
  if (length <= (may_reference ? kCopyLimit : kSlotPayload)) {
    out.copied = frame.pieces;
  } else if (may_reference &&
             frame.pieces.size() < std::min<size_t>(kMaxPieces, transmit_->size())) {
    // The first piece holds the protocol headers, which the caller may have built on its stack:
    // they are copied, where they are as small as headers are.
    size_t copied = frame.pieces.front().length <= kCopyLimit ? 1 : 0;
    out.copied = frame.pieces.first(copied);
    out.referenced = frame.pieces.subspan(copied);
    out.release = release;
  } else {
    out.copy.reset(new (std::nothrow) std::byte[length]);
    if (out.copy == nullptr) return fail(Errno::kNoBufs);
    std::byte* to = out.copy.get();
    for (const TxFrame::Piece& piece : frame.pieces) to = std::copy_n(piece.data, piece.length, to);
    out.copy_piece = {out.copy.get(), static_cast<uint32_t>(length)};
    out.referenced = {&out.copy_piece, 1};
  }
  return {};
}

Result<void> NetDriver::Pair::transmit(const TxFrame& frame, Release release) {
  if (device_.has_failed()) return fail(Errno::kIo);
  Outgoing outgoing;
  ARIL_TRY(prepare(frame, release, outgoing));
  const bool all_copied = outgoing.release.function == nullptr;

  Releases releases;
  bool queued, kick;
  {
    LockGuard guard(transmit_lock_);
    // Seldom enough that finished frames come in batches, early enough that the ring never fills
    // while the device keeps up.
    if (free_slot_count_ <= device_.sizes_.transmit_slots / 2 ||
        transmit_->free_descriptors() <= transmit_->size() / 2)
      reclaim_locked(releases);
    queued = queue_locked(outgoing) || queue_when_full_locked(outgoing, releases);
    // A batch that takes half the ring is on its way while the caller makes the next half; and what
    // fills the ring must be, or no interrupt would ever tell of room.
    kick = (!queued || transmit_->unpublished() >= device_.sizes_.transmit_slots / 2) &&
           transmit_->publish();
  }
  // Outside the lock: the notification leaves the virtual machine.
  if (kick) transmit_->notify();
  releases.run();
  if (transmit_->is_broken()) device_.broken("the device broke the transmit ring's protocol");
  if (!queued) return fail(device_.has_failed() ? Errno::kIo : Errno::kAgain);
  if (all_copied && release.function != nullptr) release.function(release.context);
  return {};
}

/// Asks to be told when half of what is under way is done, so that a batch can follow; unless
/// something is done already, which makes room at once.
bool NetDriver::Pair::queue_when_full_locked(Outgoing& outgoing, Releases& releases) {
  ++transmit_full;
  bool others_wait = signal_.transmit_blocked.exchange(true, std::memory_order_acq_rel);
  transmit_armed_ = transmit_->arm_interrupt(transmit_->outstanding() / 2);
  if (transmit_armed_) return false;
  reclaim_locked(releases);
  if (!queue_locked(outgoing)) return false;
  if (!others_wait) {
    signal_.transmit_blocked.store(false, std::memory_order_relaxed);
    transmit_->disarm_interrupt();
  }
  return true;
}

bool NetDriver::Pair::queue_locked(Outgoing& outgoing) {
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
  if (!signal_.transmit_blocked.load(std::memory_order_relaxed)) transmit_->disarm_interrupt();
  --free_slot_count_;
  if (kMaxQueues > 1) ++frames.sent;
  slot_of_head_[*head] = slot;
  slots_[slot].release = outgoing.release;
  slots_[slot].copy = std::move(outgoing.copy);
  return true;
}

void NetDriver::Pair::flush_transmit() {
  if (device_.has_failed()) return;
  bool kick;
  {
    LockGuard guard(transmit_lock_);
    kick = transmit_->publish();
  }
  // Outside the lock: the notification leaves the virtual machine.
  if (kick) transmit_->notify();
}

bool NetDriver::Pair::reclaim_locked(Releases& releases) {
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

void NetDriver::Pair::abandon() {
  if (!device_.device_is_stopped() || slots_ == nullptr) return;
  for (unsigned slot = 0; slot < device_.sizes_.transmit_slots; ++slot) {
    Release release;
    {
      LockGuard guard(transmit_lock_);
      release = std::exchange(slots_[slot].release, {});
    }
    if (release.function != nullptr) release.function(release.context);
  }
}

void NetDriver::Pair::reclaim() {
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
  if (transmit_->is_broken()) device_.broken("the device broke the transmit ring's protocol");
}

}  // namespace aril::virtio
