#pragma once
#include "inet_base.hpp"

namespace aril::net {

/// A UDP, raw or ping socket as a file. The handle is used, and released, under the stack's lock.
class DatagramFile final : public InetSocket {
 public:
  DatagramFile(Runtime& runtime, Family family, SocketType type, int protocol,
               RefPtr<DatagramSocket> handle, OpenFlags flags);
  ~DatagramFile() override;

  Result<void> bind(const SocketAddress& address) override;
  Result<void> connect(const SocketAddress& address) override;
  Result<void> shutdown(ShutdownSide side) override;
  Result<SocketAddress> local_address() override;
  Result<SocketAddress> peer_address() override;
  Result<size_t> send(OutgoingMessage& message) override;
  Result<size_t> receive(IncomingMessage& message) override;
  Result<int64_t> ioctl(uint32_t request, uint64_t argument) override;

 protected:
  [[nodiscard]] PollEvents events_locked() const override { return handle_->events(); }
  Result<void> apply_options() override;
  Result<void> set_protocol_option(int level, int name, std::span<const std::byte> value) override;
  Result<OptionValue> get_protocol_option(int level, int name) override;
  Result<size_t> get_option_in_place(int level, int name, std::span<std::byte> buffer) override;
  Errno take_error() override;
  Result<void> set_filter(std::optional<PacketFilter> filter) override;

 private:
  struct Received {
    Datagram datagram;
    PacketPtr copy;  // of a peeked datagram
    [[nodiscard]] std::span<const std::byte> payload() const {
      return copy ? std::span<const std::byte>(copy->bytes()) : datagram.payload();
    }
  };
  Result<Received> take(bool peek);
  Result<size_t> receive_error(IncomingMessage& message);
  void fill_control(const Datagram& datagram, ControlData& control);
  Result<void> set_ip_option(int name, std::span<const std::byte> value);
  Result<OptionValue> get_ip_option(int name);
  Result<void> set_ipv6_option(int name, std::span<const std::byte> value);
  Result<void> change_ipv6_membership(int name, std::span<const std::byte> value);
  Result<OptionValue> get_ipv6_option(int name);
  Result<void> set_raw_option(int level, int name, std::span<const std::byte> value);
  Result<OptionValue> get_raw_option(int level, int name);
  Result<void> set_udp_option(int name, std::span<const std::byte> value);
  Result<OptionValue> get_udp_option(int name);
  Result<void> change_ipv4_membership(int name, std::span<const std::byte> value);
  /// [RFC 3678] Of either family, by the interface's index, and IPv4's about sources.
  Result<void> change_membership(Family family, int name, std::span<const std::byte> value);
  Result<void> set_source_filter(Family family, int name, std::span<const std::byte> value);
  /// A datagram's destination: IPv6 sockets also take IPv4's form [Linux udpv6_sendmsg].
  Result<Endpoint> peer_of(const SocketAddress& address) const {
    return endpoint_of(address, address.family() == Family::kInet ? Family::kInet : this->family());
  }
  template <typename Change>
  Result<void> change_options(Change change);

  RefPtr<DatagramSocket> handle_;
  RawSocket* raw_ = nullptr;  // handle_, when it is one
  bool packet_info_ = false, receive_ttl_ = false, receive_tos_ = false;
  bool ipv6_packet_info_ = false, receive_hop_limit_ = false, receive_traffic_class_ = false;
};

}  // namespace aril::net
