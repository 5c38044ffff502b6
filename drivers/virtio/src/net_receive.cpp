#include <cstring>

#include "net.hpp"

namespace aril::virtio {

void NetDriver::give_back(unsigned buffer) {
  Virtqueue::Buffer whole{receive_pool_.physical(buffer), kBufferSize};
  // There is always room: the ring has one descriptor per buffer.
  if (std::optional<uint16_t> head = receive_->add({}, {&whole, 1}))
    buffer_of_head_[*head] = static_cast<uint16_t>(buffer);
}

unsigned NetDriver::poll_receive(unsigned budget, Sink sink, void* context) {
  if (has_failed()) {
    abandon();
    return 0;
  }
  // The device gets buffers back in batches: often enough not to run dry, seldom enough to cost
  // few notifications.
  const unsigned batch = receive_->size() / 4;
  unsigned count = 0;
  for (; count < budget; ++count) {
    std::optional<Virtqueue::Used> used = receive_->take_used();
    if (!used) break;
    receive_one(*used, sink, context);
    if (count % batch == batch - 1 && receive_->publish()) receive_->notify();
  }
  if (receive_->publish()) receive_->notify();
  if (receive_->is_broken()) broken("the device broke the receive ring's protocol");
  reclaim();
  return count;
}

void NetDriver::receive_one(Virtqueue::Used used, Sink sink, void* context) {
  unsigned buffer = buffer_of_head_[used.head];
  const std::byte* data = receive_pool_.data(buffer);
  NetHeader header{};
  std::span<const std::byte> frame;
  if (used.length >= sizeof(NetHeader)) {
    // A copy: the device could change the header between a check and its use.
    std::memcpy(&header, data, sizeof header);
    frame = {data + sizeof header, used.length - sizeof header};
    // [virtio-1.2] 5.1.6.4: without merging, the count is 1.
    if (merge_buffers_ && header.buffer_count != 1) frame = merge(header.buffer_count, frame);
  }
  if (frame.size() < kEthernetHeader) {
    ++counters_.receive_errors;
  } else {
    // [virtio-1.2] 5.1.6.4.2: a frame that still needs its checksum came from the host itself and
    // never crossed a wire.
    bool verified =
        (header.flags & (kNetNeedsChecksum | kNetDataValid)) != 0 && has(kNetGuestChecksum);
    sink(context, frame, verified ? RxChecksum::kVerified : RxChecksum::kUnknown);
  }
  give_back(buffer);
}

/// Puts a frame of several buffers together [virtio-1.2] 5.1.6.4. Takes the further buffers from
/// the ring and gives them back. Empty when the device's count or lengths are impossible.
std::span<const std::byte> NetDriver::merge(unsigned buffers, std::span<const std::byte> first) {
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
