#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/time.hpp"
#include "net/wire/dhcp.hpp"

namespace aril::net {

/// What a server granted.
struct DhcpLease {
  IpAddress address, gateway, server;
  uint8_t prefix_length = 24;
  std::array<IpAddress, DhcpMessage::kMaxServers> nameservers = {};
  uint8_t nameserver_count = 0;
  uint16_t mtu = 0;  ///< 0: not said
  Instant granted, renew, rebind, expiry;
};

/// What the client asks of its owner.
class DhcpHost {
 public:
  /// Sends `message` from port 68 to port 67 of `destination`.
  virtual void send_dhcp(std::span<const std::byte> message, IpAddress destination) = 0;
  /// The address is ours: for the first time, again, or changed.
  virtual void lease_acquired(const DhcpLease& lease) = 0;
  /// It is ours no more.
  virtual void lease_lost() = 0;

 protected:
  ~DhcpHost() = default;
};

/// The DHCP client [RFC 2131] 4.4 as a state machine: time, messages and randomness come in as
/// arguments. Broadcasts until it has a lease, renews it at T1, rebinds at T2, starts over when it
/// ends. Not synchronised.
class DhcpClient {
 public:
  enum class State : uint8_t { kStopped, kSelecting, kRequesting, kBound, kRenewing, kRebinding };

  DhcpClient(DhcpHost& host, const EthernetAddress& hardware, std::string_view host_name,
             uint64_t random);

  void start(Instant now);
  /// A datagram for port 68.
  void receive(std::span<const std::byte> message, Instant now);
  /// Does what is due.
  void poll(Instant now);
  [[nodiscard]] Instant deadline() const { return deadline_; }
  [[nodiscard]] State state() const { return state_; }

 private:
  void begin(Instant now);
  void send_discover(Instant now);
  void send_request(Instant now);
  void retry_later(Instant now);
  void accept(const DhcpMessage& message, Instant now);
  uint32_t next_random();

  DhcpHost& host_;
  EthernetAddress hardware_;
  std::array<char, 64> host_name_ = {};
  uint8_t host_name_length_ = 0;
  uint64_t random_;
  State state_ = State::kStopped;
  uint32_t transaction_ = 0;
  uint8_t attempts_ = 0;
  Instant started_, deadline_ = Instant::never();
  IpAddress offered_, server_;
  DhcpLease lease_;
};

}  // namespace aril::net
