#pragma once
#include "net/datagram/datagram_socket.hpp"

namespace aril::net {

class UdpLayer;

/// An application's handle on UDP.
class UdpSocket final : public DatagramSocket {
 public:
  /// Not for use: see UdpLayer::create_socket.
  UdpSocket(UdpLayer& layer, IpAddress any);
  ~UdpSocket() override = default;

  Result<void> bind(const Endpoint& local) override;
  Result<void> connect(const Endpoint& remote) override;
  /// Also cuts the payload into datagrams of `segment_size` [udp(7) UDP_SEGMENT].
  Result<size_t> send(std::span<const std::byte> payload, const std::optional<Endpoint>& to,
                      const DatagramSource& source = {}) override;

 private:
  friend class UdpLayer;
  void unregister() override;
  Result<void> send_one(const Path& path, uint16_t port, std::span<const std::byte> payload);

  UdpLayer& layer_;
  UdpSocket* next_in_bucket_ = nullptr;
};

}  // namespace aril::net
