#pragma once
#include <stddef.h>
#include <stdint.h>

/// Translation of addresses and ports [RFC 3022], and the filter in front of it. Addresses and
/// ports are in host order.

enum class Direction { kOut, kIn };

/// One end of a conversation as IP's payload shows it; `port` is an echo's identifier for ICMP.
struct Endpoint {
  uint32_t address;
  uint16_t port;
};

/// A conversation that began inside, or at a forwarded port.
struct Mapping {
  Endpoint inside, peer;
  uint16_t outside_port;
  uint8_t protocol;
  bool is_forwarded;   ///< outside_port is a forwarded one
  bool is_ending;      ///< a FIN or RST was seen
  uint32_t last_used;  ///< seconds; 0: the entry is free
};

struct Forward {
  uint8_t protocol;
  uint16_t outside_port;
  Endpoint inside;
};

/// The first rule that matches decides.
struct Rule {
  bool allow;
  Direction direction;
  uint8_t protocol;  ///< 0: any
  uint32_t network, mask;
  uint16_t port;  ///< of the destination; 0: any
};

struct Configuration {
  static constexpr size_t kMaxForwards = 32, kMaxRules = 64;
  Forward forwards[kMaxForwards];
  size_t forward_count;
  Rule rules[kMaxRules];
  size_t rule_count;
};

class Nat {
 public:
  static constexpr size_t kMaxMappings = 4096;

  explicit Nat(const Configuration& configuration) : configuration_(configuration) {}

  /// For a packet from inside; null when the filter forbids it or the table is full.
  Mapping* outgoing(uint8_t protocol, Endpoint inside, Endpoint peer, uint32_t now);
  /// For a packet to the outside address's `port`; null when nothing belongs there.
  Mapping* incoming(uint8_t protocol, Endpoint peer, uint16_t port, uint32_t now);
  /// As incoming(), for an ICMP error about a packet that went out: no new conversation.
  Mapping* find_outside(uint8_t protocol, uint32_t peer, uint16_t port);

 private:
  [[nodiscard]] bool allows(Direction direction, uint8_t protocol, Endpoint destination) const;
  Mapping* take_free(uint32_t now);
  uint16_t choose_port(uint8_t protocol, uint16_t wanted);

  const Configuration& configuration_;
  Mapping mappings_[kMaxMappings] = {};
  uint16_t next_port_ = 32768;
};
