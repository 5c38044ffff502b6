#pragma once
#include <array>
#include <cstdint>
#include <span>

#include "net/ip/ip_layer.hpp"
#include "net/udp/udp_socket.hpp"

namespace aril::net {

/// UDP [RFC 768, RFC 1122 4.1]: ports, delivery to sockets, errors back to them.
class UdpLayer final : public Transport {
 public:
  explicit UdpLayer(IpLayer& ip) : ip_(ip), context_(ip.context()) {}

  /// `any`: the unspecified address of the socket's family. kNoMem.
  Result<RefPtr<UdpSocket>> create_socket(IpAddress any = {});

  void receive(const IpPacketInfo& info, std::span<const std::byte> bytes) override;
  void receive_error(const IpError& error, std::span<const std::byte> quoted) override;

  /// For /proc/net/udp.
  template <typename Function>
  void for_each_socket(Function function) {
    for (UdpSocket* socket : buckets_)
      for (; socket != nullptr; socket = socket->next_in_bucket_) function(*socket);
  }

 private:
  friend class UdpSocket;
  static constexpr size_t kBuckets = 256;
  // What Linux's ip_local_port_range has by default.
  static constexpr uint16_t kFirstEphemeral = 32768, kLastEphemeral = 60999;

  UdpSocket*& bucket(uint16_t port) { return buckets_[port % kBuckets]; }
  [[nodiscard]] bool conflicts(const UdpSocket& socket, const Endpoint& local);
  Result<uint16_t> pick_port(const UdpSocket& socket, IpAddress address);
  void insert(UdpSocket& socket);
  void remove(UdpSocket& socket);
  static int score(const UdpSocket& socket, const IpPacketInfo& info, const Endpoint& from,
                   uint16_t port);
  UdpSocket* find(const IpPacketInfo& info, const Endpoint& from, uint16_t port);
  void deliver(UdpSocket& socket, const IpPacketInfo& info, const Endpoint& from,
               std::span<const std::byte> payload);

  IpLayer& ip_;
  StackContext& context_;
  std::array<UdpSocket*, kBuckets> buckets_ = {};
};

}  // namespace aril::net
