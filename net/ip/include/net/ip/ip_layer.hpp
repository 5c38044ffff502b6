#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.hpp"
#include "net/buffer/packet.hpp"
#include "net/ip/context.hpp"
#include "net/ip/interface.hpp"
#include "net/ip/neighbours.hpp"
#include "net/ip/reassembly.hpp"
#include "net/wire/ipv4.hpp"
#include "net/wire/tcp.hpp"

namespace aril::net {

/// A received packet's IP-level facts, for transports.
struct IpPacketInfo {
  Interface* interface = nullptr;
  IpAddress source, destination;
  uint8_t time_to_live = 0, type_of_service = 0;
  ChecksumState checksum = ChecksumState::kUnknown;
  bool is_broadcast = false;          ///< destination is broadcast or multicast
  std::span<const std::byte> packet;  ///< whole, for quoting in an ICMP error
};

/// An ICMP error about something that we sent.
struct IpError {
  IpAddress source, destination;  ///< of our packet: source is ours
  Errno error = Errno::kHostUnreach;
  bool is_fatal = false;      ///< not a passing condition [RFC 1122] 4.2.3.9
  uint16_t next_hop_mtu = 0;  ///< non-zero: fragmentation needed
};

/// TCP or UDP, as IP sees it.
class Transport {
 public:
  virtual void receive(const IpPacketInfo& info, std::span<const std::byte> bytes) = 0;
  /// `quoted`: at least the first 8 bytes of our packet's transport header.
  virtual void receive_error(const IpError& error, std::span<const std::byte> quoted) = 0;

 protected:
  ~Transport() = default;
};

/// How to reach a destination. Interfaces live for ever, so it may be kept; addresses may change.
struct Route {
  Interface* interface = nullptr;
  IpAddress source, next_hop;
  bool is_broadcast = false;
};

/// Room for all headers of a packet, so that each layer writes its own in front of the next.
class HeaderBuffer {
 public:
  static constexpr size_t kLink = sizeof(EthernetHeader), kNetwork = sizeof(Ipv4Header);
  [[nodiscard]] std::span<std::byte, kMaxTcpHeader> transport() {
    return std::span<std::byte, kMaxTcpHeader>(bytes_ + kLink + kNetwork, kMaxTcpHeader);
  }

 private:
  friend class IpLayer;
  std::byte bytes_[kLink + kNetwork + kMaxTcpHeader];
};

/// A transport's segment on its way out.
struct TransportOutput {
  HeaderBuffer& header;
  size_t header_length = 0;  ///< of the transport header
  std::span<const TxPiece> payload = {};
  size_t payload_length = 0;
  /// Where in the transport header the checksum is, when the link is to complete it; 0: done.
  uint16_t checksum_offset = 0;
  uint16_t segment_size = 0;  ///< as in TxPacket
};

/// One line of the routing table.
struct RouteEntry {
  IpAddress network;
  uint8_t prefix_length = 0;
  IpAddress gateway;  ///< unspecified: on link
  Interface* interface = nullptr;
  IpAddress source;  ///< preferred; unspecified: the interface's
};

/// IPv4 and what belongs to it: interfaces, routes, ARP, ICMP, fragments.
class IpLayer final : private NeighbourOwner {
 public:
  static constexpr size_t kMaxInterfaces = 17, kMaxRoutes = 64, kMaxLoopback = 4096;

  explicit IpLayer(StackContext& context);
  ~IpLayer();

  /// Makes "lo" with 127.0.0.1/8, once, and sets who gets received segments. kNoMem.
  Result<void> initialize(Transport& tcp, Transport& udp);
  /// kNoMem, kNoSpc.
  Result<Interface*> add_interface(Interface::Kind kind, const InterfaceConfig& config,
                                   LinkSink* sink);
  /// Null when there is none. Indices start at 1.
  [[nodiscard]] Interface* interface(uint32_t index);
  [[nodiscard]] Interface* interface(std::string_view name);
  [[nodiscard]] uint32_t interface_count() const { return interface_count_; }

  /// Adds the on-link route too, and announces the address [RFC 5227] 3. kNoSpc, kExist, kInval.
  Result<void> add_address(Interface& interface, const InterfaceAddress& address);
  /// And the routes that use it.
  void remove_address(Interface& interface, IpAddress address);
  /// kNoSpc, kExist.
  Result<void> add_route(const RouteEntry& route);
  void remove_route(const RouteEntry& route);
  [[nodiscard]] std::span<const RouteEntry> routes() const {
    return {routes_.data(), route_count_};
  }

  /// One of our addresses, on any interface.
  [[nodiscard]] bool is_local(IpAddress address) const;
  /// `source` and `interface` restrict the choice unless unspecified and 0. kNetUnreach, kInval for
  /// a source that is not ours, kAfNoSupport.
  Result<Route> route(IpAddress destination, IpAddress source = {}, uint32_t interface = 0);

  /// Sends one packet; fragments it when it is too long and `fields` permit. The packet is out, or
  /// queued, or counted as dropped; kMsgSize, kNoBufs.
  Result<void> send(const Route& route, Ipv4Fields fields, const TransportOutput& output);

  /// One frame from a link.
  void receive_frame(Interface& interface, std::span<const std::byte> frame,
                     ChecksumState checksum);
  /// One packet that was sent over loopback; false when there is none.
  bool deliver_one_loopback();
  [[nodiscard]] bool has_loopback() const { return !loopback_.empty(); }

  /// Tells the sender of `packet` that it could not be delivered, unless [RFC 1122] 3.2.2 forbids
  /// or the rate limit says no.
  void send_icmp_error(uint8_t type, uint8_t code, std::span<const std::byte> packet);

  [[nodiscard]] Neighbours& neighbours() { return neighbours_; }
  [[nodiscard]] StackContext& context() { return context_; }

 private:
  void send_arp(Interface& interface, const ArpPacket& packet,
                const EthernetAddress& destination) override;
  void send_resolved(Interface& interface, const EthernetAddress& destination,
                     std::span<const std::byte> packet) override;
  void unresolved(Interface& interface, std::span<const std::byte> packet) override;

  void receive_arp(Interface& interface, std::span<const std::byte> bytes);
  void receive_ipv4(Interface& interface, std::span<const std::byte> bytes, ChecksumState checksum);
  bool accept_addresses(const Interface& interface, const Ipv4View& view, bool& is_broadcast);
  void deliver(Interface& interface, const Ipv4View& view, ChecksumState checksum,
               bool is_broadcast);
  void receive_icmp(const IpPacketInfo& info, std::span<const std::byte> bytes);
  void receive_icmp_error(const IcmpHeader& header, std::span<const std::byte> quoted);
  void reply_echo(const IpPacketInfo& info, std::span<const std::byte> message);
  void report_error(const IpError& error, const Ipv4View& quoted);

  Result<void> send_loopback(std::span<const std::byte> header, const TransportOutput& output);
  Result<void> send_fragments(const Route& route, const Ipv4Fields& fields,
                              const TransportOutput& output);
  /// Sends `packet`, whose header starts with room for Ethernet's, to the next hop.
  void send_to_link(const Route& route, std::byte* link_header, const TxPacket& packet);
  void transmit(Interface& interface, const TxPacket& packet);
  [[nodiscard]] const RouteEntry* find_route(IpAddress destination, uint32_t interface) const;
  Interface* group_interface(uint32_t bound);
  uint16_t next_identification(IpAddress destination);
  void announce(Interface& interface, IpAddress address);

  StackContext& context_;
  Transport* tcp_ = nullptr;
  Transport* udp_ = nullptr;
  std::array<std::unique_ptr<Interface>, kMaxInterfaces> interfaces_;
  uint32_t interface_count_ = 0;
  std::array<RouteEntry, kMaxRoutes> routes_;  // longest prefix first
  size_t route_count_ = 0;
  Neighbours neighbours_;
  Reassembly reassembly_;
  Ring<PacketPtr, 16> loopback_;
  std::array<uint16_t, 64> identifications_ = {};
  /// [RFC 1812] 4.3.2.8: a bucket of tokens for ICMP errors.
  uint32_t error_tokens_ = 50;
  Instant error_tokens_filled_;
};

}  // namespace aril::net
