#include "nat.hpp"

namespace {

constexpr uint8_t kIcmp = 1, kTcp = 6;
constexpr uint16_t kFirstPort = 32768, kLastPort = 60999;

/// Seconds without a packet [RFC 4787] 4.3, [RFC 5382] 5.
uint32_t patience(const Mapping& mapping) {
  if (mapping.protocol == kIcmp) return 60;
  if (mapping.protocol != kTcp) return 300;
  return mapping.is_ending ? 60 : 7440;
}

bool is_live(const Mapping& mapping, uint32_t now) {
  return mapping.last_used != 0 && now - mapping.last_used < patience(mapping);
}

bool same(Endpoint a, Endpoint b) { return a.address == b.address && a.port == b.port; }

}  // namespace

bool Nat::allows(Direction direction, uint8_t protocol, Endpoint destination) const {
  for (size_t i = 0; i < configuration_.rule_count; ++i) {
    const Rule& rule = configuration_.rules[i];
    if (rule.direction != direction || (rule.protocol != 0 && rule.protocol != protocol)) continue;
    if ((destination.address & rule.mask) != rule.network) continue;
    if (rule.port != 0 && rule.port != destination.port) continue;
    return rule.allow;
  }
  return true;
}

/// A place for a new conversation: a free one, or one that has ended.
Mapping* Nat::take_free(uint32_t now) {
  for (Mapping& mapping : mappings_) {
    if (!is_live(mapping, now)) return &mapping;
  }
  return nullptr;
}

/// The port that was asked for when nobody has it, else the next that nobody has; 0: none.
uint16_t Nat::choose_port(uint8_t protocol, uint16_t wanted) {
  auto is_taken = [&](uint16_t port) {
    for (const Mapping& mapping : mappings_) {
      if (mapping.last_used != 0 && mapping.protocol == protocol && mapping.outside_port == port)
        return true;
    }
    for (size_t i = 0; i < configuration_.forward_count; ++i) {
      const Forward& forward = configuration_.forwards[i];
      if (forward.protocol == protocol && forward.outside_port == port) return true;
    }
    return false;
  };
  if (wanted >= kFirstPort && !is_taken(wanted)) return wanted;
  for (int tries = kLastPort - kFirstPort; tries >= 0; --tries) {
    uint16_t port = next_port_;
    next_port_ = port == kLastPort ? kFirstPort : static_cast<uint16_t>(port + 1);
    if (!is_taken(port)) return port;
  }
  return 0;
}

Mapping* Nat::outgoing(uint8_t protocol, Endpoint inside, Endpoint peer, uint32_t now) {
  if (!allows(Direction::kOut, protocol, peer)) return nullptr;
  for (Mapping& mapping : mappings_) {
    // An echo's answer has no port of its own.
    if (is_live(mapping, now) && mapping.protocol == protocol && same(mapping.inside, inside) &&
        same(mapping.peer, peer)) {
      mapping.last_used = now;
      return &mapping;
    }
  }
  Mapping* fresh = take_free(now);
  if (fresh == nullptr) return nullptr;
  *fresh = {};
  uint16_t port = choose_port(protocol, inside.port);
  if (port == 0) return nullptr;
  *fresh = {.inside = inside,
            .peer = peer,
            .outside_port = port,
            .protocol = protocol,
            .is_forwarded = false,
            .is_ending = false,
            .last_used = now};
  return fresh;
}

Mapping* Nat::find_outside(uint8_t protocol, uint32_t peer, uint16_t port) {
  for (Mapping& mapping : mappings_) {
    if (mapping.last_used != 0 && mapping.protocol == protocol && mapping.outside_port == port &&
        mapping.peer.address == peer)
      return &mapping;
  }
  return nullptr;
}

Mapping* Nat::incoming(uint8_t protocol, Endpoint peer, uint16_t port, uint32_t now) {
  // Only who was spoken to may answer [RFC 4787] 5: address and port dependent filtering.
  for (Mapping& mapping : mappings_) {
    if (is_live(mapping, now) && mapping.protocol == protocol && mapping.outside_port == port &&
        same(mapping.peer, peer)) {
      mapping.last_used = now;
      return &mapping;
    }
  }
  for (size_t i = 0; i < configuration_.forward_count; ++i) {
    const Forward& forward = configuration_.forwards[i];
    if (forward.protocol != protocol || forward.outside_port != port) continue;
    if (!allows(Direction::kIn, protocol, forward.inside)) return nullptr;
    Mapping* fresh = take_free(now);
    if (fresh == nullptr) return nullptr;
    *fresh = {.inside = forward.inside,
              .peer = peer,
              .outside_port = port,
              .protocol = protocol,
              .is_forwarded = true,
              .is_ending = false,
              .last_used = now};
    return fresh;
  }
  return nullptr;
}
