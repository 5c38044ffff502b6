#pragma once
#include <cstddef>
#include <cstdint>

#include "base/intrusive_list.hpp"
#include "net/buffer/packet.hpp"
#include "net/ip/context.hpp"
#include "net/wire/ipv4.hpp"
#include "net/wire/ipv6.hpp"

namespace aril::net {

/// One fragment of either family.
struct FragmentView {
  explicit FragmentView(const Ipv4View& view);
  explicit FragmentView(const Ipv6View& view);

  IpAddress source, destination;
  uint32_t identification = 0;
  uint8_t protocol = 0;  ///< IPv4 alone tells datagrams apart by it
  uint8_t next_header = 0;
  uint32_t offset = 0;
  bool more = false;
  std::span<const std::byte> packet, payload;
  /// What the whole begins with, and where in it the type of the payload is (IPv6).
  uint32_t header_length = 0, next_header_offset = 0;
};

/// Puts fragments together [RFC 791] 3.2, [RFC 8200] 4.5. Bounded in datagrams, fragments and
/// bytes; a datagram with overlapping fragments is thrown away whole [RFC 5722], as is one that is
/// not complete after 30 s.
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
  PacketPtr add(const FragmentView& fragment);

 private:
  struct Fragment {
    uint32_t start = 0, end = 0;
    PacketPtr packet;  // the whole IP packet
    uint32_t header_length = 0, payload_offset = 0;
  };
  struct Datagram {
    ListNode node;
    IpAddress source, destination;
    uint32_t identification = 0;
    uint8_t protocol = 0;
    uint8_t next_header = 0;  // of fragment zero
    uint32_t next_header_offset = 0;
    Instant expiry;
    uint32_t total = 0;  // 0: the last fragment has not come
    uint32_t received = 0;
    size_t bytes = 0;
    Ring<Fragment, 4> fragments;  // sorted by start
  };

  Datagram* find(const FragmentView& fragment);
  Datagram* create(const FragmentView& fragment);
  void destroy(Datagram& datagram);
  bool insert(Datagram& datagram, const FragmentView& fragment);
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
