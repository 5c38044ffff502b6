#pragma once
#include <cstdint>
#include <span>

#include "net/ip/ip_layer.hpp"
#include "net/raw/raw_socket.hpp"

namespace aril::net {

/// Raw and ping sockets [raw(7), icmp(7)]: hands them what arrives beside the transports. Costs
/// nothing while there is no such socket.
class RawLayer final : public RawReceiver {
 public:
  explicit RawLayer(IpLayer& ip) : ip_(ip) {}

  /// `any`: the unspecified address of the socket's family. `protocol`: of IP; a raw socket of
  /// kRawProtocol only sends. A ping socket's is the family's ICMP. kProtoNoSupport, kNoMem.
  Result<RefPtr<RawSocket>> create_socket(RawKind kind, uint8_t protocol, IpAddress any);

  bool receive(const IpPacketInfo& info, uint8_t protocol,
               std::span<const std::byte> payload) override;
  void receive_error(const IpError& error, uint8_t protocol,
                     std::span<const std::byte> quoted) override;

  /// For /proc/net/raw.
  template <typename Function>
  void for_each_socket(Function function) {
    for (RawSocket* socket = first_; socket != nullptr; socket = socket->next_) function(*socket);
  }

 private:
  friend class RawSocket;
  void insert(RawSocket& socket);
  void remove(RawSocket& socket);
  /// Of a ping socket: the identifier of its echo requests.
  Result<uint16_t> pick_identifier();
  [[nodiscard]] bool is_identifier_taken(uint16_t identifier, const RawSocket& but) const;

  IpLayer& ip_;
  RawSocket* first_ = nullptr;
};

}  // namespace aril::net
