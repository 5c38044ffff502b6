#include <algorithm>
#include <cstring>

#include "net_pair.hpp"

namespace aril::virtio {

void NetDriver::Pair::give_back(unsigned buffer) {
  Virtqueue::Buffer whole{receive_pool_.physical(buffer), kBufferSize};
  // There is always room: the ring has one descriptor per buffer.
  if (std::optional<uint16_t> head = receive_->add({}, {&whole, 1}))
    buffer_of_head_[*head] = static_cast<uint16_t>(buffer);
}

unsigned NetDriver::Pair::poll_receive(unsigned budget, Sink sink, void* context) {
  if (device_.has_failed()) {
    abandon();
    return 0;
  }
  unsigned count = 0;
  while (count < budget) {
    const unsigned taken = receive_batch(std::min(budget - count, kBatch), sink, context);
    if (taken == 0) break;
    count += taken;
    // The device gets buffers back often enough not to run dry, seldom enough to cost few
    // notifications.
    if (receive_->unpublished() >= receive_->size() / 4 && receive_->publish()) receive_->notify();
  }
  if (receive_->publish()) receive_->notify();
  if (receive_->is_broken()) device_.broken("the device broke the receive ring's protocol");
  reclaim();
  return count;
}

/// Takes up to `limit` chains from the ring, and the further buffers of the frames in them. How
/// many.
unsigned NetDriver::Pair::receive_batch(unsigned limit, Sink sink, void* context) {
  std::array<RxFrame, kBatch> batch;
  std::array<uint16_t, kBatch> buffers;
  unsigned frame_count = 0, taken = 0;
  bool is_staged = false;
  // There is one staging buffer, so what lies in it ends the batch.
  while (taken < limit && !is_staged) {
    std::optional<Virtqueue::Used> used = receive_->take_used();
    if (!used) break;
    const uint16_t buffer = buffers[taken++] = buffer_of_head_[used->head];
    RxFrame& frame = batch[frame_count];
    frame = read(receive_pool_.data(buffer), used->length, is_staged);
    if (frame.length < kEthernetHeader) {
      ++receive_errors;
    } else {
      ++frame_count;
    }
  }
  if (kMaxQueues > 1) frames.received += frame_count;
  if (frame_count != 0) sink(context, std::span(batch).first(frame_count));
  for (unsigned i = 0; i < taken; ++i) give_back(buffers[i]);
  return taken;
}

/// The frame in a buffer of which `length` bytes were written; shorter than a frame can be when it
/// is none.
RxFrame NetDriver::Pair::read(const std::byte* data, size_t length, bool& is_staged) {
  if (length < sizeof(NetHeader)) return {data, 0, RxChecksum::kUnknown};
  // A copy: the device could change the header between a check and its use.
  NetHeader header;
  std::memcpy(&header, data, sizeof header);
  std::span<const std::byte> frame = {data + sizeof header, length - sizeof header};
  // [virtio-1.2] 5.1.6.4: without merging, the count is 1.
  if (device_.merge_buffers_ && header.buffer_count != 1) {
    frame = merge(header.buffer_count, frame);
    is_staged = true;
  }
  // [virtio-1.2] 5.1.6.4.2: a frame that still needs its checksum came from the host itself and
  // never crossed a wire.
  bool verified =
      (header.flags & (kNetNeedsChecksum | kNetDataValid)) != 0 && device_.has(kNetGuestChecksum);
  return {frame.data(), static_cast<uint32_t>(frame.size()),
          verified ? RxChecksum::kVerified : RxChecksum::kUnknown};
}

/// Puts a frame of several buffers together [virtio-1.2] 5.1.6.4. Takes the further buffers from
/// the ring and gives them back. Empty when the device's count or lengths are impossible.
std::span<const std::byte> NetDriver::Pair::merge(unsigned buffers,
                                                  std::span<const std::byte> first) {
  size_t length = 0;
  bool fits = buffers != 0;
  auto append = [&](std::span<const std::byte> part) {
    fits = fits && part.size() <= staging_size_ - length;
    if (!fits || part.empty()) return;
    std::memcpy(staging_.get() + length, part.data(), part.size());
    length += part.size();
  };
  append(first);
  for (unsigned i = 1; i < buffers; ++i) {
    std::optional<Virtqueue::Used> used = receive_->take_used();
    if (!used) return {};
    unsigned buffer = buffer_of_head_[used->head];
    append({receive_pool_.data(buffer), used->length});
    give_back(buffer);
  }
  if (!fits) return {};
  return {staging_.get(), length};
}

}  // namespace aril::virtio
