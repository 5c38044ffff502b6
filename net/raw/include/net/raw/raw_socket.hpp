#pragma once
#include <array>
#include <optional>

#include "base/packet_filter.hpp"
#include "net/datagram/datagram_socket.hpp"

namespace aril::net {

class RawLayer;

enum class RawKind : uint8_t {
  kRaw,   ///< SOCK_RAW: all packets of a protocol
  kPing,  ///< SOCK_DGRAM with ICMP: echo requests of its own and the answers to them
};

/// What a raw socket adds to the options of datagrams.
struct RawOptions {
  bool includes_header = false;                ///< IP_HDRINCL
  uint32_t icmp_filter = 0;                    ///< ICMP_FILTER: a set bit blocks the type
  std::array<uint32_t, 8> icmpv6_filter = {};  ///< ICMPV6_FILTER: likewise
  int checksum_offset = -1;                    ///< IPV6_CHECKSUM; -1: none
};

/// An application's handle on IP itself. Datagrams of an IPv4 raw socket begin with the IP header;
/// all others with what follows it.
class RawSocket final : public DatagramSocket {
 public:
  static constexpr uint8_t kRawProtocol = 255;  ///< IPPROTO_RAW

  /// Not for use: see RawLayer::create_socket.
  RawSocket(RawLayer& layer, RawKind kind, uint8_t protocol, IpAddress any);

  Result<void> bind(const Endpoint& local) override;
  Result<void> connect(const Endpoint& remote) override;
  Result<size_t> send(std::span<const std::byte> payload, const std::optional<Endpoint>& to,
                      const DatagramSource& source = {}) override;

  [[nodiscard]] RawKind kind() const { return kind_; }
  [[nodiscard]] uint8_t protocol() const { return protocol_; }
  [[nodiscard]] const RawOptions& raw_options() const { return raw_options_; }
  /// kInval for a checksum offset that is odd.
  Result<void> set_raw_options(const RawOptions& options);
  /// What the program returns 0 for is not received.
  void set_filter(std::optional<PacketFilter> filter) { filter_ = std::move(filter); }

 private:
  friend class RawLayer;
  void unregister() override;
  [[nodiscard]] bool is_v6() const { return !any_.is_v4(); }
  [[nodiscard]] bool wants(const IpPacketInfo& info, uint8_t protocol,
                           std::span<const std::byte> payload) const;
  [[nodiscard]] bool passes_filter(uint8_t type) const;
  Result<void> send_with_header(std::span<const std::byte> packet, const Path& path);
  Result<void> fill_checksum(std::span<std::byte> message, const Path& path) const;

  RawLayer& layer_;
  const RawKind kind_;
  const uint8_t protocol_;
  RawOptions raw_options_;
  std::optional<PacketFilter> filter_;
  RawSocket* next_ = nullptr;
};

}  // namespace aril::net
