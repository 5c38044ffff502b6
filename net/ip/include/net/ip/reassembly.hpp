#pragma once
#include <cstddef>
#include <cstdint>

#include "base/intrusive_list.hpp"
#include "net/buffer/packet.hpp"
#include "net/ip/context.hpp"
#include "net/wire/ipv4.hpp"

namespace aril::net {

/// Puts IPv4 fragments together [RFC 791] 3.2. Bounded in datagrams, fragments and bytes; a
/// datagram with overlapping fragments is thrown away whole, as is one that is not complete after
/// 30 s.
class Reassembly {
 public:
  static constexpr size_t kMaxDatagrams = 64;
  static constexpr size_t kMaxFragments = 64;  ///< of one datagram
  static constexpr size_t kMaxBytes = 1 << 20;

  /// Called with the first fragment (IP packet) of a datagram that timed out, for ICMP.
  using TimeoutHook = void (*)(void* context, std::span<const std::byte> first_fragment);
  Reassembly(StackContext& context, TimeoutHook hook, void* hook_context);
  ~Reassembly();

  /// Takes one fragment; the whole packet, header included, when it was the last missing.
  PacketPtr add(const Ipv4View& fragment);

 private:
  struct Fragment {
    uint32_t start = 0, end = 0;
    PacketPtr packet;  // the whole IP packet
    uint32_t header_length = 0;
  };
  struct Datagram {
    ListNode node;
    IpAddress source, destination;
    uint16_t identification = 0;
    uint8_t protocol = 0;
    Instant expiry;
    uint32_t total = 0;  // 0: the last fragment has not come
    uint32_t received = 0;
    size_t bytes = 0;
    Ring<Fragment, 4> fragments;  // sorted by start
  };

  Datagram* find(const Ipv4View& fragment);
  Datagram* create(const Ipv4View& fragment);
  void destroy(Datagram& datagram);
  bool insert(Datagram& datagram, const Ipv4View& fragment);
  PacketPtr assemble(Datagram& datagram);
  void on_timer();

  StackContext& context_;
  TimeoutHook hook_;
  void* hook_context_;
  IntrusiveList<Datagram, &Datagram::node> datagrams_;  // oldest first
  size_t count_ = 0, bytes_ = 0;
  WheelTimer timer_;
};

}  // namespace aril::net
