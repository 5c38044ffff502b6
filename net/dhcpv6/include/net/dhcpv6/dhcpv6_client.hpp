#pragma once
#include <cstdint>
#include <optional>
#include <span>

#include "net/dhcpv6/dhcpv6_message.hpp"

namespace aril::net {

/// What the client asks of its owner.
class Dhcpv6Host {
 public:
  /// Sends `message` from port 546 to all servers on the link.
  virtual void send_dhcpv6(std::span<const std::byte> message) = 0;
  /// The address is ours for `preferred` and `valid` seconds (~0: for ever): new, or again.
  virtual void address_granted(IpAddress address, uint32_t preferred, uint32_t valid) = 0;
  virtual void address_lost(IpAddress address) = 0;
  /// For `lifetime` seconds.
  virtual void name_servers_told(std::span<const IpAddress> servers, uint32_t lifetime) = 0;

 protected:
  ~Dhcpv6Host() = default;
};

/// The DHCPv6 client [RFC 8415] 18.2 as a state machine, for one address or for other
/// configuration alone: time, messages and randomness come in as arguments. Takes the first answer
/// of a server that commits rapidly, else the best advertisement of the first second; renews at T1,
/// rebinds at T2, starts over when the address ends. Not synchronised.
class Dhcpv6Client {
 public:
  enum class State : uint8_t {
    kStopped,
    kSoliciting,
    kRequesting,
    kBound,
    kRenewing,
    kRebinding,
    kDeclining,
    kInforming,  // asking for other configuration
    kInformed,
  };

  Dhcpv6Client(Dhcpv6Host& host, const EthernetAddress& hardware, uint64_t random)
      : host_(host), hardware_(hardware), random_(random | 1) {}

  /// A router says that there are addresses to be had, or only other configuration [RFC 4861] 4.2.
  /// May be called for every advertisement: only the first, and the step from one to the other, do
  /// something.
  void start(bool wants_address, Instant now);
  /// A datagram for port 546.
  void receive(std::span<const std::byte> message, Instant now);
  /// Another machine has the address that was granted.
  void decline(IpAddress address, Instant now);
  /// Does what is due.
  void poll(Instant now);
  [[nodiscard]] Instant deadline() const { return deadline_; }
  [[nodiscard]] State state() const { return state_; }

 private:
  void enter(State state, Instant now);
  void send(Instant now);
  void set_retry(Instant now);
  void consider(const Dhcpv6Message& advertised, Instant now);
  void accept(const Dhcpv6Message& reply, Instant now);
  void take_name_servers(const Dhcpv6Message& message, uint32_t lifetime);
  void forget_address();
  uint32_t next_random();

  Dhcpv6Host& host_;
  EthernetAddress hardware_;
  uint64_t random_;
  State state_ = State::kStopped;
  uint32_t transaction_ = 0;
  uint8_t attempts_ = 0;
  Duration retry_;
  Instant exchange_start_, deadline_ = Instant::never();
  Instant renew_, rebind_, expiry_;
  Dhcpv6Identifier server_;
  std::optional<uint8_t> best_preference_;  // of an advertisement in server_
  std::optional<IpAddress> address_;  // granted, or advertised by server_; set while is_granted_
  bool is_granted_ = false;
};

}  // namespace aril::net
