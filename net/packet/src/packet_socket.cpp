#include "net/packet/packet_socket.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "net/packet/packet_layer.hpp"

namespace aril::net {
namespace {

constexpr size_t kMaxPieces = 24;

/// A frame in pieces, as a filter's program sees it; and what is known beside its bytes
/// [Linux linux/filter.h SKF_AD_*].
class FrameInput final : public FilterInput {
 public:
  FrameInput(std::span<const TxPiece> pieces, uint32_t length, uint16_t protocol,
             const Interface& interface, FrameDirection direction, size_t network)
      : pieces_(pieces),
        length_(length),
        protocol_(protocol),
        interface_(interface),
        direction_(direction),
        network_(network) {}

  bool load(uint32_t offset, unsigned size, uint32_t& value) const override {
    constexpr uint32_t kAncillary = 0xfffff000, kNetwork = 0xfff00000;
    if (offset >= kAncillary) return load_ancillary(offset - kAncillary, value);
    // SKF_NET_OFF: from the network header on.
    if (offset >= kNetwork) offset = offset - kNetwork + static_cast<uint32_t>(network_);
    if (offset > length_ || length_ - offset < size) return false;
    value = 0;
    for (unsigned i = 0; i < size; ++i) value = value << 8 | at(offset + i);
    return true;
  }
  [[nodiscard]] uint32_t length() const override { return length_; }

 private:
  [[nodiscard]] uint32_t at(uint32_t offset) const {
    for (const TxPiece& piece : pieces_) {
      if (offset < piece.length) return std::to_integer<uint32_t>(piece.data[offset]);
      offset -= piece.length;
    }
    return 0;
  }
  bool load_ancillary(uint32_t what, uint32_t& value) const {
    switch (what) {
      case 0:
        value = protocol_;
        return true;
      case 4:
        value = static_cast<uint32_t>(direction_);
        return true;
      case 8:
        value = interface_.index();
        return true;
      case 28:  // ARPHRD_*
        value = interface_.is_loopback() ? 772 : 1;
        return true;
      case 44:  // VLAN tag, and whether there is one
      case 48:
        value = 0;
        return true;
      default:
        return false;
    }
  }

  std::span<const TxPiece> pieces_;
  uint32_t length_;
  uint16_t protocol_;
  const Interface& interface_;
  FrameDirection direction_;
  size_t network_;
};

}  // namespace

PacketSocket::~PacketSocket() { ARIL_ASSERT(!registered_); }

Result<void> PacketSocket::bind(uint32_t interface, uint16_t protocol) {
  if (interface != 0 && layer_.ip_.interface(interface) == nullptr) return fail(Errno::kNoDev);
  interface_ = interface;
  if (protocol != 0) protocol_ = protocol;
  return {};
}

void PacketSocket::offer(Interface& interface, FrameDirection direction, const TxPacket& packet,
                         const EthernetHeader& header) {
  // From where the socket sees the frame on.
  size_t skipped = kind_ == PacketKind::kRaw ? 0 : sizeof(EthernetHeader);
  std::array<TxPiece, kMaxPieces> pieces;
  if (packet.payload.size() + 1 > pieces.size()) return;
  size_t count = 0;
  auto head = packet.header.subspan(skipped);
  pieces[count++] = {head.data(), static_cast<uint32_t>(head.size()), nullptr};
  for (const TxPiece& piece : packet.payload) pieces[count++] = piece;
  std::span<const TxPiece> seen = std::span(pieces).first(count);
  size_t length = packet.size() - skipped;
  size_t captured = length;
  if (filter_) {
    FrameInput input(seen, static_cast<uint32_t>(length), header.type, interface, direction,
                     sizeof(EthernetHeader) - skipped);
    captured = std::min<size_t>(captured, filter_->run(input));
    if (captured == 0) return;
  }
  ++statistics_.seen;
  CapturedFrame frame{.interface = interface.index(),
                      .direction = direction,
                      .is_loopback = interface.is_loopback(),
                      .protocol = header.type,
                      .source = header.source,
                      .received = layer_.ip_.context().now,
                      .packet = nullptr,
                      .length = static_cast<uint32_t>(length),
                      .checksum_pending = packet.checksum_start != 0};
  if (ring_ != nullptr) {
    if (!ring_->put(frame, seen, captured)) ++statistics_.dropped;
    if (observer_ != nullptr) observer_->on_socket_events(kReadable);
    return;
  }
  MemoryBudget& memory = layer_.ip_.context().memory;
  size_t cost = captured + sizeof(CapturedFrame);
  bool full = queued_bytes_ + cost > receive_buffer_ && !queue_.empty();
  auto copy = full || memory.is_exhausted() ? Result<PacketPtr>(fail(Errno::kNoBufs))
                                            : Packet::allocate(captured);
  if (!copy) {
    ++statistics_.dropped;
    return;
  }
  size_t at = 0;
  for (const TxPiece& piece : seen) {
    size_t part = std::min<size_t>(piece.length, captured - at);
    std::memcpy((*copy)->bytes().data() + at, piece.data, part);
    at += part;
  }
  frame.packet = std::move(*copy);
  if (!queue_.push_back(std::move(frame))) {
    ++statistics_.dropped;
    return;
  }
  queued_bytes_ += static_cast<uint32_t>(cost);
  memory.charge(cost);
  if (observer_ != nullptr) observer_->on_socket_events(kReadable);
}

Result<const CapturedFrame*> PacketSocket::peek() {
  if (queue_.empty()) return fail(Errno::kAgain);
  return &queue_.front();
}

Result<CapturedFrame> PacketSocket::receive() {
  ARIL_TRY(peek());
  CapturedFrame frame = std::move(queue_.front());
  queue_.pop_front();
  size_t cost = frame.packet->size() + sizeof(CapturedFrame);
  queued_bytes_ -= static_cast<uint32_t>(cost);
  layer_.ip_.context().memory.release(cost);
  return frame;
}

Result<size_t> PacketSocket::send(std::span<const std::byte> bytes, uint32_t interface,
                                  uint16_t protocol, const EthernetAddress& destination) {
  if (interface == 0) interface = interface_;
  Interface* link = layer_.ip_.interface(interface);
  if (link == nullptr) return fail(Errno::kNxIo);
  if (kind_ == PacketKind::kRaw) {
    ARIL_TRY(layer_.ip_.send_frame(*link, bytes));
    return bytes.size();
  }
  EthernetHeader header{destination, link->hardware(), protocol != 0 ? protocol : protocol_};
  auto frame = ARIL_TRY(Packet::allocate(sizeof header + bytes.size()));
  std::memcpy(frame->bytes().data(), &header, sizeof header);
  std::ranges::copy(bytes, frame->bytes().begin() + sizeof header);
  ARIL_TRY(layer_.ip_.send_frame(*link, frame->bytes()));
  return bytes.size();
}

Result<void> PacketSocket::add_promiscuous(uint32_t interface) {
  Interface* link = layer_.ip_.interface(interface);
  if (link == nullptr) return fail(Errno::kNoDev);
  if (promiscuous_.size() == kMaxPromiscuous) return fail(Errno::kNoBufs);
  ARIL_TRY(promiscuous_.push_back(interface));
  link->change_promiscuity(1);
  return {};
}

Result<void> PacketSocket::drop_promiscuous(uint32_t interface) {
  for (size_t i = 0; i < promiscuous_.size(); ++i) {
    if (promiscuous_[i] != interface) continue;
    layer_.ip_.interface(interface)->change_promiscuity(-1);
    promiscuous_[i] = promiscuous_.back();
    promiscuous_.pop_back();
    return {};
  }
  return fail(Errno::kAddrNotAvail);
}

void PacketSocket::close() {
  observer_ = nullptr;
  ring_ = nullptr;
  if (!registered_) return;
  while (!promiscuous_.empty()) (void)drop_promiscuous(promiscuous_.back());
  layer_.remove(*this);
  layer_.ip_.context().memory.release(queued_bytes_);
  queued_bytes_ = 0;
  queue_.clear();
}

PollEvents PacketSocket::events() const {
  bool readable = !queue_.empty() || (ring_ != nullptr && ring_->has_frames());
  return readable ? kWritable | kReadable : kWritable;
}

}  // namespace aril::net
