#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/result.hpp"
#include "net/buffer/packet.hpp"
#include "net/ip/change_observer.hpp"
#include "net/ip/context.hpp"
#include "net/ip/interface.hpp"
#include "net/ip/neighbours.hpp"
#include "net/ip/reassembly.hpp"
#include "net/ip/redirects.hpp"
#include "net/wire/ipv4.hpp"
#include "net/wire/ipv6.hpp"
#include "net/wire/ndp.hpp"
#include "net/wire/tcp.hpp"

namespace aril::net {

class GroupReport;
struct GroupQuery;
enum class GroupRecordType : uint8_t;

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
  bool is_fatal = false;       ///< not a passing condition [RFC 1122] 4.2.3.9
  uint16_t next_hop_mtu = 0;   ///< non-zero: fragmentation needed
  uint16_t scope = 0;          ///< of the destination, as in Endpoint
  IpAddress offender;          ///< who said so; ourselves when nobody did
  uint8_t type = 0, code = 0;  ///< ICMP's
  /// No error but this, to be given to accept_redirect() when the packet was sent.
  const Redirect* redirect = nullptr;
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

/// Raw sockets, as IP sees them: they get packets beside the transports.
class RawReceiver {
 public:
  /// True when a socket took it: then nobody complains about an unknown protocol. `payload`
  /// follows the network headers.
  virtual bool receive(const IpPacketInfo& info, uint8_t protocol,
                       std::span<const std::byte> payload) = 0;
  virtual void receive_error(const IpError& error, uint8_t protocol,
                             std::span<const std::byte> quoted) = 0;

 protected:
  ~RawReceiver() = default;
};

/// PACKET_* of struct sockaddr_ll [packet(7)].
enum class FrameDirection : uint8_t {
  kHost = 0,
  kBroadcast = 1,
  kMulticast = 2,
  kOtherHost = 3,
  kOutgoing = 4,
};

/// Who sees every frame of every link: packet sockets.
class FrameTap {
 public:
  /// The bytes are valid during the call. Frames of loopback have an Ethernet header of zeros.
  virtual void frame(Interface& interface, FrameDirection direction, const TxPacket& packet) = 0;

 protected:
  ~FrameTap() = default;
};

/// How to reach a destination. Interfaces live for ever, so it may be kept; addresses may change.
struct Route {
  Interface* interface = nullptr;
  IpAddress source, next_hop;
  bool is_broadcast = false;
};

/// What a transport decides of the header in front of its segment, in either family.
struct IpFields {
  IpAddress source, destination;
  IpProtocol protocol;
  uint8_t time_to_live = 64;
  uint8_t type_of_service = 0;
  bool dont_fragment = false;
  bool multicast_loop = false;  ///< members on this machine get it too
  bool tries_path = false;      ///< may be longer than the path's MTU is known to be
};

/// Room for all headers of a packet, so that each layer writes its own in front of the next.
class HeaderBuffer {
 public:
  static constexpr size_t kLink = sizeof(EthernetHeader), kNetwork = sizeof(Ipv6Header),
                          kSize = kLink + kNetwork + kMaxTcpHeader;
  [[nodiscard]] std::span<std::byte, kMaxTcpHeader> transport() {
    return std::span<std::byte, kMaxTcpHeader>(bytes_ + kLink + kNetwork, kMaxTcpHeader);
  }

 private:
  friend class IpLayer;
  /// Where the frame starts when its network header has `network` bytes.
  [[nodiscard]] std::byte* start(size_t network) { return bytes_ + kNetwork - network; }
  std::byte bytes_[kSize];
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
  /// A router's advertisement made it, and it ends when that does.
  bool is_advertised = false;
  Instant expiry = Instant::never();

  [[nodiscard]] bool matches(IpAddress destination) const {
    return network.is_v4() == destination.is_v4() &&
           network_of(destination, prefix_length) == network;
  }
};

/// What happens to an interface's IPv6 addresses without being asked for.
enum class Ipv6Event : uint8_t {
  kAddressAdded,
  kAddressExpired,
  kDuplicate,
  kNameServers,
  kManagedAddresses,    ///< a router says that DHCPv6 has addresses [RFC 4861] 4.2
  kOtherConfiguration,  ///< or other configuration only
};

/// IPv4 and IPv6 and what belongs to them: interfaces, routes, neighbours, ICMP, fragments.
/// Divided over ip_layer.cpp (configuration and routing), input.cpp, output.cpp, icmp.cpp,
/// groups.cpp, igmp.cpp and forward.cpp for IPv4 and what both share, and the ipv6_*.cpp,
/// icmpv6.cpp, mld.cpp, ndp.cpp and router_discovery.cpp.
class IpLayer final : private NeighbourOwner {
 public:
  static constexpr size_t kMaxInterfaces = 17, kMaxRoutes = 64, kMaxLoopback = 4096,
                          kMaxPathMtus = 64, kMaxAdvertisedRoutes = 16;

  explicit IpLayer(StackContext& context);
  ~IpLayer();

  /// Makes "lo" with 127.0.0.1/8 and ::1/128, once, and sets who gets received segments. kNoMem.
  Result<void> initialize(Transport& tcp, Transport& udp);
  /// Null while nobody is interested, which costs nothing.
  void set_raw(RawReceiver* raw) { raw_ = raw; }
  void set_tap(FrameTap* tap) { tap_ = tap; }
  /// Passes on what is for others [RFC 1812]; off by default.
  void set_forwarding(bool v4, bool v6) {
    forwards_v4_ = v4;
    forwards_v6_ = v6;
  }
  /// For hosts, on by default; routers take none.
  void set_accept_redirects(bool v4, bool v6) {
    accepts_redirects_v4_ = v4;
    accepts_redirects_v6_ = v6;
  }
  [[nodiscard]] bool accepts_redirects_v4() const { return accepts_redirects_v4_; }
  [[nodiscard]] bool accepts_redirects_v6() const { return accepts_redirects_v6_; }
  [[nodiscard]] bool forwards_v4() const { return forwards_v4_; }
  [[nodiscard]] bool forwards_v6() const { return forwards_v6_; }
  /// kNoMem, kNoSpc.
  Result<Interface*> add_interface(Interface::Kind kind, const InterfaceConfig& config,
                                   LinkSink* sink);
  /// Null when there is none. Indices start at 1.
  [[nodiscard]] Interface* interface(uint32_t index);
  [[nodiscard]] Interface* interface(std::string_view name);
  [[nodiscard]] uint32_t interface_count() const { return interface_count_; }

  /// Adds the on-link route too, and announces the address [RFC 5227] 3. kNoSpc, kExist, kInval.
  Result<void> add_address(Interface& interface, const InterfaceAddress& address);
  Result<void> add_ipv6_address(Interface& interface, const Ipv6InterfaceAddress& address);
  /// Gives the link its link-local address, and looks for routers: what they advertise configures
  /// addresses, routes and name servers [RFC 4862]. kNoSpc, kExist.
  Result<void> enable_ipv6(Interface& interface);
  /// Told of what enable_ipv6() leads to.
  void set_ipv6_hook(void (*hook)(void*, Interface&, Ipv6Event, IpAddress), void* context) {
    ipv6_hook_ = hook;
    ipv6_hook_context_ = context;
  }
  /// Told of what changes from here on, until it is removed. Both under the stack's lock.
  void add_observer(ChangeObserver& observer) { observers_.push_back(observer); }
  void remove_observer(ChangeObserver& observer) { observer.observer_node_.unlink(); }
  /// Whose request the changes are, until told otherwise.
  void set_change_origin(ChangeOrigin origin) { change_origin_ = origin; }
  [[nodiscard]] ChangeOrigin change_origin() const { return change_origin_; }
  void set_mtu(Interface& interface, uint32_t mtu);
  /// The device's connection.
  void set_carrier(Interface& interface, bool is_up);
  /// What a router or a DHCPv6 server granted, for so many seconds (~0: for ever), or grants again.
  /// Addresses set by hand stay as they are; what exceeds the limits is dropped and counted.
  void learn_address(Interface& interface, IpAddress address, uint8_t prefix_length,
                     uint32_t preferred, uint32_t valid);
  void forget_address(Interface& interface, IpAddress address);
  /// 0 seconds: they serve no longer.
  void learn_name_servers(Interface& interface, std::span<const IpAddress> servers,
                          uint32_t lifetime);
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
  /// a source that is not ours or a link-local destination without its interface, kAddrNotAvail
  /// when there is no source address to use.
  Result<Route> route(IpAddress destination, IpAddress source = {}, uint32_t interface = 0);

  /// What a packet to `destination` may have.
  [[nodiscard]] uint32_t path_mtu(const Route& route, IpAddress destination) const;
  /// A router on the path, or silence, told that no more gets through. Only for what a transport
  /// has checked to be about its own packets [RFC 8201] 4.
  void note_path_mtu(IpAddress destination, uint32_t mtu);
  /// False, and counted, when it is none to follow.
  bool accept_redirect(const Redirect& redirect);
  /// Counts note_path_mtu(), for who keeps a path_mtu().
  [[nodiscard]] uint32_t path_mtu_changes() const { return path_mtu_changes_; }

  /// Sends one packet; fragments it when it is too long and `fields` permit. The packet is out, or
  /// queued, or counted as dropped; kMsgSize, kNoBufs.
  Result<void> send(const Route& route, const IpFields& fields, const TransportOutput& output);

  /// One whole packet of either family, whose network header of `header_length` bytes is complete.
  /// It is not fragmented. kNoBufs.
  Result<void> send_packet(const Route& route, std::span<const std::byte> packet,
                           size_t header_length);
  /// One whole frame. kInval, kMsgSize, kNoBufs.
  Result<void> send_frame(Interface& interface, std::span<const std::byte> frame);

  /// One membership of a group, and whom it hears, changes, which IGMP or MLD announces. Null: it
  /// begins, or ends. kNoBufs, kNoMem, but not when it ends.
  Result<void> change_group(Interface& interface, IpAddress group, const SourceFilter* from,
                            const SourceFilter* to);
  Result<void> join_group(Interface& interface, IpAddress group, const SourceFilter& filter = {}) {
    return change_group(interface, group, nullptr, &filter);
  }
  void leave_group(Interface& interface, IpAddress group, const SourceFilter& filter = {}) {
    (void)change_group(interface, group, &filter, nullptr);
  }
  /// The link for a group's packets when nobody says: null when none has an address.
  Interface* group_interface(IpAddress group, uint32_t bound);

  /// One frame from a link.
  void receive_frame(Interface& interface, std::span<const std::byte> frame,
                     ChecksumState checksum);
  /// One packet that was sent over loopback; false when there is none.
  bool deliver_one_loopback();
  [[nodiscard]] bool has_loopback() const { return !loopback_.empty(); }

  /// Tells the sender of `packet` that it could not be delivered, unless [RFC 1122] 3.2.2 forbids
  /// or the rate limit says no.
  void send_icmp_error(uint8_t type, uint8_t code, std::span<const std::byte> packet,
                       uint32_t parameter = 0);
  /// The same for IPv6 [RFC 4443] 2.4; `answer_group`: also about a packet to a group.
  void send_icmpv6_error(Interface& interface, uint8_t type, uint8_t code, uint32_t parameter,
                         std::span<const std::byte> packet, bool answer_group = false);
  /// "Nobody listens on this port", in the packet's family.
  void send_port_unreachable(const IpPacketInfo& info);

  [[nodiscard]] Neighbours& neighbours() { return neighbours_; }
  [[nodiscard]] StackContext& context() { return context_; }

 private:
  void solicit(Interface& interface, IpAddress target, const EthernetAddress* known) override;
  void send_resolved(Interface& interface, const EthernetAddress& destination,
                     std::span<const std::byte> packet) override;
  void unresolved(Interface& interface, std::span<const std::byte> packet) override;
  // changes.cpp: what observers are told.
  void changed(const Interface& interface, const InterfaceAddress& address, Presence presence);
  void changed(const Interface& interface, const Ipv6InterfaceAddress& address, Presence presence);
  void changed(const RouteEntry& route, Presence presence);
  void changed(const NeighbourView& neighbour, Presence presence) override;
  /// Removes the routes for which `is_it` holds.
  template <typename Predicate>
  void remove_routes(Predicate is_it) {
    size_t kept = 0;
    for (size_t i = 0; i < route_count_; ++i) {
      if (is_it(routes_[i])) {
        changed(routes_[i], Presence::kGone);
      } else {
        routes_[kept++] = routes_[i];
      }
    }
    route_count_ = kept;
  }

  void send_arp(Interface& interface, const ArpPacket& packet, const EthernetAddress& destination);
  void receive_arp(Interface& interface, std::span<const std::byte> bytes);
  void receive_ipv4(Interface& interface, std::span<const std::byte> bytes, ChecksumState checksum);
  bool accept_addresses(Interface& interface, const Ipv4View& view, ChecksumState checksum,
                        bool& is_broadcast);
  void deliver(Interface& interface, const Ipv4View& view, ChecksumState checksum,
               bool is_broadcast);
  void receive_icmp(const IpPacketInfo& info, std::span<const std::byte> bytes);
  void receive_icmp_error(const IpPacketInfo& info, const IcmpHeader& header,
                          std::span<const std::byte> quoted);
  void reply_echo(const IpPacketInfo& info, std::span<const std::byte> message);
  void report_error(const IpError& error, uint8_t protocol, std::span<const std::byte> quoted);
  bool take_error_token();
  bool receive_raw(const IpPacketInfo& info, uint8_t protocol, std::span<const std::byte> payload) {
    return raw_ != nullptr && raw_->receive(info, protocol, payload);
  }

  // groups.cpp
  using SourceChoice = bool (*)(const MulticastGroup&, const MulticastGroup::Source&);
  void take_group_query(Interface& interface, const GroupQuery& query);
  static void ask_about(MulticastGroup& group, const GroupQuery& query, Instant at);
  void other_member_reported(Interface& interface, IpAddress group);
  void run_group_timers(Interface& interface, Instant& next);
  void report_changes(Interface& interface, MulticastGroup& group);
  void answer_query(Interface& interface, GroupReport& report, MulticastGroup& group);
  void write_record(Interface& interface, GroupReport& report, GroupRecordType type,
                    const MulticastGroup& group, SourceChoice is_meant);
  void send_report(Interface& interface, GroupReport& report);
  void report_plainly(Interface& interface, IpAddress group, bool leaves);
  static size_t report_limit(const Interface& interface);
  static void drop_left_groups(Interface& interface);
  Instant random_instant_within(Duration time);
  // igmp.cpp
  void receive_igmp(const IpPacketInfo& info, std::span<const std::byte> bytes);
  void send_igmp3_report(Interface& interface, GroupReport& report);
  void report_by_igmp2(Interface& interface, IpAddress group, bool leaves);
  void send_igmp(Interface& interface, IpAddress destination, std::span<std::byte> packet);
  // mld.cpp
  void receive_group_query(const IpPacketInfo& info, std::span<const std::byte> bytes);
  void receive_mld1_report(const IpPacketInfo& info, std::span<const std::byte> bytes);
  void send_mld2_report(Interface& interface, GroupReport& report);
  void report_by_mld1(Interface& interface, IpAddress group, bool leaves);

  // forward.cpp
  void forward_ipv4(Interface& interface, const Ipv4View& view, ChecksumState checksum);
  void forward_ipv6(Interface& interface, const Ipv6View& view, ChecksumState checksum);
  /// A packet that is not ours in a frame of ours.
  struct Passing {
    std::span<std::byte> packet;
    size_t network = 0;  ///< of the network header
    IpAddress source, destination;
    uint8_t protocol = 0;
    bool is_whole = false;  ///< no fragment: the transport's header can be seen
  };
  /// How many bytes of the transport's header a device may cut behind; 0: none.
  static size_t cuttable_header(const Passing& passing, const Interface& out);
  void pass_on(const RouteEntry& entry, const Passing& passing, ChecksumState checksum);
  [[nodiscard]] const RouteEntry* route_to_forward(const Interface& interface, IpAddress source,
                                                   IpAddress destination) const;

  // redirects.cpp
  void receive_icmp_redirect(const IpPacketInfo& info, const IcmpHeader& header,
                             std::span<const std::byte> quoted);
  void receive_ndp_redirect(const IpPacketInfo& info, std::span<const std::byte> bytes);
  void lost(Interface& interface, IpAddress address) override;
  [[nodiscard]] IpAddress next_hop(const Route& route, IpAddress destination) const {
    if (redirects_.empty()) return route.next_hop;
    return redirects_.find(*route.interface, destination, route.next_hop, context_.now);
  }

  // ipv6_input.cpp
  void receive_ipv6(Interface& interface, std::span<const std::byte> bytes, ChecksumState checksum);
  void refuse_ipv6(Interface& interface, const Ipv6Problem& problem,
                   std::span<const std::byte> bytes);
  bool accept_ipv6(Interface& interface, const Ipv6View& view, ChecksumState checksum);
  void deliver_ipv6(Interface& interface, const Ipv6View& view, ChecksumState checksum);
  // ipv6_output.cpp
  Result<void> send_ipv6(const Route& route, const IpFields& fields, const TransportOutput& output);
  Result<void> send_ipv6_fragments(const Route& route, const IpFields& fields,
                                   const TransportOutput& output, uint32_t mtu);
  Result<Route> route_ipv6(IpAddress destination, IpAddress source, uint32_t interface);
  IpAddress select_source(const Interface& interface, IpAddress destination) const;
  // icmpv6.cpp
  void receive_icmpv6(const IpPacketInfo& info, std::span<const std::byte> bytes);
  void receive_icmpv6_error(const IpPacketInfo& info, const IcmpHeader& header,
                            std::span<const std::byte> quoted);
  void reply_echo_ipv6(const IpPacketInfo& info, std::span<const std::byte> message);
  /// `head` begins with an IcmpHeader whose checksum this fills in; it and `payload` are the
  /// message.
  void send_icmpv6(const Route& route, IpAddress destination, uint8_t hop_limit,
                   std::span<const std::byte> head, std::span<const std::byte> payload,
                   bool router_alert = false);
  // ndp.cpp
  void receive_solicitation(const IpPacketInfo& info, std::span<const std::byte> bytes);
  void receive_advertisement(const IpPacketInfo& info, std::span<const std::byte> bytes);
  void send_neighbour_message(Interface& interface, uint8_t type, IpAddress source,
                              IpAddress destination, IpAddress target, uint32_t flags,
                              bool with_link_address);
  void solicit_neighbour(Interface& interface, IpAddress target, const EthernetAddress* known);
  void duplicate_found(Interface& interface, IpAddress address);
  // router_discovery.cpp
  void receive_router_advertisement(const IpPacketInfo& info, std::span<const std::byte> bytes);
  void take_prefix(Interface& interface, const RouterAdvertisement::Prefix& prefix);
  void set_advertised_route(const RouteEntry& route, uint32_t lifetime);
  void send_router_solicitation(Interface& interface);
  void arm_ipv6_timer(Instant deadline);
  void on_ipv6_timer();
  void run_ipv6_timers(Interface& interface, Instant& next);
  void tell(Interface& interface, Ipv6Event event, IpAddress address) {
    if (ipv6_hook_ != nullptr) ipv6_hook_(ipv6_hook_context_, interface, event, address);
  }

  /// Sends, when the network header, of so many bytes, is in front of the transport's.
  /// `fragment_size`: unless 0, the link cuts the datagram, with so many bytes behind each header.
  Result<void> send_headers(const Route& route, const IpFields& fields, size_t network_length,
                            const TransportOutput& output, size_t fragment_size = 0);
  /// Whether the link cuts a datagram that is too long for the path.
  bool link_fragments(const Route& route, const IpFields& fields, const TransportOutput& output);
  /// `header` begins with room for Ethernet's. `interface`: where it will have arrived.
  Result<void> send_loopback(std::span<const std::byte> header, const TransportOutput& output,
                             Interface& interface, std::optional<EthernetHeader> frame = {});
  Result<void> send_fragments(const Route& route, const Ipv4Fields& fields,
                              const TransportOutput& output);
  /// The transport's segment in one piece, its checksum complete.
  static Result<PacketPtr> gather(const TransportOutput& output);
  /// Sends `packet`, whose header starts with room for Ethernet's, to the next hop.
  void send_to_link(const Route& route, IpAddress next_hop, std::byte* link_header,
                    const TxPacket& packet);
  void transmit(Interface& interface, const TxPacket& packet);
  [[nodiscard]] const RouteEntry* find_route(IpAddress destination, uint32_t interface) const;
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
  struct Looped {
    PacketPtr packet;
    Interface* interface = nullptr;
    std::optional<EthernetHeader> header = {};  ///< of a frame that was made whole
  };
  Ring<Looped, 16> loopback_;
  RawReceiver* raw_ = nullptr;
  FrameTap* tap_ = nullptr;
  bool forwards_v4_ = false, forwards_v6_ = false;
  bool accepts_redirects_v4_ = true, accepts_redirects_v6_ = true;
  Redirects redirects_;
  bool is_looped_ = false;  // the packet being received is our own to a group
  std::array<uint16_t, 64> identifications_ = {};
  /// [RFC 1812] 4.3.2.8: a bucket of tokens for ICMP errors.
  uint32_t error_tokens_ = 50;
  Instant error_tokens_filled_;
  struct PathMtu {
    IpAddress destination;
    uint32_t mtu = 0;
    Instant expiry;
  };
  std::array<PathMtu, kMaxPathMtus> path_mtus_ = {};
  uint32_t path_mtu_changes_ = 0;
  WheelTimer ipv6_timer_;
  void (*ipv6_hook_)(void*, Interface&, Ipv6Event, IpAddress) = nullptr;
  void* ipv6_hook_context_ = nullptr;
  IntrusiveList<ChangeObserver, &ChangeObserver::observer_node_> observers_;
  ChangeOrigin change_origin_;
};

}  // namespace aril::net
