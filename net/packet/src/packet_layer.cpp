#include "net/packet/packet_layer.hpp"

#include <cstring>

namespace aril::net {

Result<RefPtr<PacketSocket>> PacketLayer::create_socket(PacketKind kind, uint16_t protocol) {
  auto socket = ARIL_TRY(try_make_ref<PacketSocket>(*this, kind, protocol));
  insert(*socket);
  return socket;
}

void PacketLayer::insert(PacketSocket& socket) {
  socket.registered_ = true;
  socket.next_ = first_;
  first_ = &socket;
  ip_.set_tap(this);
}

void PacketLayer::remove(PacketSocket& socket) {
  PacketSocket** link = &first_;
  while (*link != &socket) link = &(*link)->next_;
  *link = socket.next_;
  socket.registered_ = false;
  if (first_ == nullptr) ip_.set_tap(nullptr);
}

void PacketLayer::frame(Interface& interface, FrameDirection direction, const TxPacket& packet) {
  EthernetHeader header;
  if (packet.header.size() < sizeof header) return;
  std::memcpy(&header, packet.header.data(), sizeof header);
  for (PacketSocket* socket = first_; socket != nullptr; socket = socket->next_) {
    if (socket->protocol_ == 0) continue;
    if (socket->interface_ != 0 && socket->interface_ != interface.index()) continue;
    bool every = socket->protocol_ == PacketSocket::kEveryProtocol;
    // [packet(7)] What leaves is shown only to who wants every protocol.
    if (!every &&
        (socket->protocol_ != header.type.get() || direction == FrameDirection::kOutgoing))
      continue;
    if (direction == FrameDirection::kOutgoing && socket->ignores_outgoing_) continue;
    if (direction == FrameDirection::kOtherHost && !interface.is_promiscuous()) continue;
    socket->offer(interface, direction, packet, header);
  }
}

}  // namespace aril::net
