#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "net/buffer/packet.hpp"
#include "net/ip/context.hpp"
#include "net/ip/interface.hpp"
#include "net/wire/ethernet.hpp"

namespace aril::net {

/// Whether what a change is about is there now, new or different, or is no more.
enum class Presence : uint8_t { kThere, kGone };

/// A neighbour as others see it.
struct NeighbourView {
  IpAddress address;
  const Interface* interface;
  EthernetAddress hardware;
  bool is_complete;
};

/// What the table of neighbours asks of the layer that owns it.
class NeighbourOwner {
 public:
  /// Asks for the hardware address of `target`: everyone, or the station at `known` to confirm it.
  virtual void solicit(Interface& interface, IpAddress target, const EthernetAddress* known) = 0;
  /// Sends an IP packet that was waiting.
  virtual void send_resolved(Interface& interface, const EthernetAddress& destination,
                             std::span<const std::byte> packet) = 0;
  /// Nobody answered: `packet` could not be delivered.
  virtual void unresolved(Interface& interface, std::span<const std::byte> packet) = 0;
  /// Nobody answers at an address any more.
  virtual void lost(Interface& interface, IpAddress address) = 0;
  /// What is known of a neighbour is another thing now.
  virtual void changed(const NeighbourView& neighbour, Presence presence) = 0;

 protected:
  ~NeighbourOwner() = default;
};

/// The neighbours of every link, found by ARP [RFC 826, RFC 1122 2.3.2] or by Neighbour Discovery
/// [RFC 4861 5]: resolves next hops, holds packets meanwhile, checks
/// that old entries still answer. Bounded: the least recently used entry makes room.
class Neighbours {
 public:
  static constexpr size_t kMaxEntries = 512;
  static constexpr size_t kMaxPending = 16;

  Neighbours(StackContext& context, NeighbourOwner& owner) : context_(context), owner_(owner) {}
  ~Neighbours();

  /// The hardware address, when known. Else begins resolution; the caller gives the packet to
  /// enqueue().
  const EthernetAddress* resolve(Interface& interface, IpAddress address);
  /// Holds an IP packet until `address` is resolved; the oldest goes when too many wait.
  void enqueue(Interface& interface, IpAddress address, PacketPtr packet);
  /// A received ARP packet. `is_for_us`: its target is one of the interface's addresses.
  void receive(Interface& interface, const ArpPacket& packet, bool is_for_us);
  /// `address` said itself, unasked, that it is at `hardware`: taken, but asked again before long
  /// [RFC 4861] 7.2.3.
  void heard_of(Interface& interface, IpAddress address, const EthernetAddress& hardware);
  /// A neighbour advertisement [RFC 4861] 7.2.5; `hardware` may be null.
  void advertised(Interface& interface, IpAddress address, const EthernetAddress* hardware,
                  bool is_solicited, bool is_override);

  using View = NeighbourView;
  /// For /proc/net/arp.
  template <typename Function>
  void for_each(Function function) {
    for (Entry* entry : buckets_)
      for (; entry != nullptr; entry = entry->next) function(entry->view());
  }

 private:
  enum class State : uint8_t {
    kIncomplete,  ///< request sent, no answer yet
    kReachable,   ///< answered within kReachableTime, or not used since
    kProbing,     ///< in use, being asked again
  };
  struct Entry {
    Entry(Neighbours& owner, Interface& link, IpAddress target)
        : table(&owner), interface(&link), address(target), timer(run_timer, this) {}
    static void run_timer(void* entry);
    [[nodiscard]] View view() const {
      return {address, interface, hardware, state != State::kIncomplete};
    }
    Neighbours* table;
    Interface* interface;
    IpAddress address;
    EthernetAddress hardware = {};
    State state = State::kIncomplete;
    uint8_t probes = 0;
    Instant confirmed, used;
    Entry* next = nullptr;
    WheelTimer timer;
    Ring<PacketPtr, 4> pending;
  };
  static constexpr size_t kBuckets = 128;
  static constexpr unsigned kMaxProbes = 3;

  static size_t bucket_of(IpAddress address) { return (address.low() * 0x9e3779b97f4a7c15) >> 57; }
  Entry* find(const Interface& interface, IpAddress address);
  Entry* create(Interface& interface, IpAddress address);
  void destroy(Entry& entry);
  void evict_one();
  void learn(Entry& entry, const EthernetAddress& hardware, Instant confirmed);
  void request(Entry& entry);
  void on_timer(Entry& entry);

  StackContext& context_;
  NeighbourOwner& owner_;
  std::array<Entry*, kBuckets> buckets_ = {};
  size_t count_ = 0;
};

}  // namespace aril::net
