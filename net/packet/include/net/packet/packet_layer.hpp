#pragma once
#include "net/ip/ip_layer.hpp"
#include "net/packet/packet_socket.hpp"

namespace aril::net {

/// Packet sockets [packet(7)]: shows them the frames of the links. Costs nothing while there is
/// none.
class PacketLayer final : public FrameTap {
 public:
  explicit PacketLayer(IpLayer& ip) : ip_(ip) {}

  /// `protocol`: an EtherType, kEveryProtocol, or 0 for nothing before bind(). kNoMem.
  Result<RefPtr<PacketSocket>> create_socket(PacketKind kind, uint16_t protocol);

  void frame(Interface& interface, FrameDirection direction, const TxPacket& packet) override;

  /// For /proc/net/packet.
  template <typename Function>
  void for_each_socket(Function function) {
    for (PacketSocket* socket = first_; socket != nullptr; socket = socket->next_)
      function(*socket);
  }

 private:
  friend class PacketSocket;
  void insert(PacketSocket& socket);
  void remove(PacketSocket& socket);

  IpLayer& ip_;
  PacketSocket* first_ = nullptr;
};

}  // namespace aril::net
