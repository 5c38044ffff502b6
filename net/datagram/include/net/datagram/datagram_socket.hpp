#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/poll_events.hpp"
#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "net/buffer/packet.hpp"
#include "net/buffer/socket_observer.hpp"
#include "net/ip/ip_layer.hpp"
#include "net/wire/address.hpp"

namespace aril::net {

struct DatagramOptions {
  bool broadcast = false;
  bool reuse_address = false;
  bool reuse_port = false;
  bool receive_errors = false;  ///< IP_RECVERR: ICMP errors are queued, also on unconnected sockets
  bool dont_fragment = false;   ///< IP_MTU_DISCOVER other than IP_PMTUDISC_DONT
  uint32_t send_buffer = 212992;
  uint32_t receive_buffer = 212992;
  uint8_t type_of_service = 0;
  uint8_t time_to_live = 64;
  uint8_t multicast_time_to_live = 1;
  bool multicast_loop = true;
  bool multicast_all = true;            ///< IP_MULTICAST_ALL
  uint32_t multicast_interface_v4 = 0;  ///< IP_MULTICAST_IF; 0: by route
  bool ipv6_multicast_all = true;       ///< IPV6_MULTICAST_ALL
  bool v6_only = false;                 ///< IPV6_V6ONLY
  bool ipv6_dont_fragment = false;      ///< IPV6_DONTFRAG, or IPV6_MTU_DISCOVER
  uint8_t traffic_class = 0;            ///< IPV6_TCLASS
  uint8_t hop_limit = 0;                ///< IPV6_UNICAST_HOPS; 0: the link's
  uint8_t multicast_hop_limit = 1;      ///< IPV6_MULTICAST_HOPS
  uint32_t multicast_interface = 0;     ///< IPV6_MULTICAST_IF; 0: by route
  uint32_t interface = 0;               ///< SO_BINDTODEVICE: index, 0 for any
  uint16_t segment_size = 0;            ///< UDP_SEGMENT; 0: none
  bool join_segments = false;           ///< UDP_GRO
};

/// A received datagram. `payload()` is the data; the rest feeds recvmsg and IP_PKTINFO.
struct Datagram {
  Endpoint from;
  IpAddress to;
  uint32_t interface = 0;
  uint8_t time_to_live = 0;
  uint8_t type_of_service = 0;
  Instant received;
  PacketPtr packet;
  uint32_t offset = 0, length = 0;
  uint16_t segment_size = 0;  ///< several were joined, each but the last of this size; 0: one
  [[nodiscard]] std::span<const std::byte> payload() const {
    return packet->bytes().subspan(offset, length);
  }
};

/// Where to send, beside the destination, and what is of this datagram alone: control messages'
/// choices.
struct DatagramSource {
  IpAddress address;                       ///< unspecified: by route
  uint32_t interface = 0;                  ///< 0: by route
  int hop_limit = -1, traffic_class = -1;  ///< in either family; -1: the socket's
  int segment_size = -1;                   ///< UDP_SEGMENT; -1: the socket's
};

/// An ICMP error about a datagram of a socket that asked for them: struct sock_extended_err.
struct DatagramError {
  IpError cause;
  Endpoint destination;
  PacketPtr payload;  ///< what the error quoted of the datagram's
};

/// How a membership's sources change: IP_ADD_SOURCE_MEMBERSHIP, IP_DROP_SOURCE_MEMBERSHIP,
/// IP_BLOCK_SOURCE, IP_UNBLOCK_SOURCE [RFC 3678] 4.1.
enum class SourceChange : uint8_t { kJoin, kLeave, kBlock, kUnblock };

/// What sockets that send and receive whole datagrams share: UDP, raw and ping sockets. Non-
/// blocking; every method needs the stack's lock.
class DatagramSocket : public RefCounted {
 public:
  DatagramSocket(IpLayer& ip, IpAddress any)
      : ip_(ip), context_(ip.context()), any_(any), local_{.address = any} {}
  virtual ~DatagramSocket();

  void set_observer(SocketObserver* observer) { observer_ = observer; }

  /// Port 0 picks one. kInval when bound already, kAddrInUse, kAddrNotAvail.
  virtual Result<void> bind(const Endpoint& local) = 0;
  /// Fixes the peer: sends go there, datagrams from others are not delivered. kNetUnreach, kAcces.
  virtual Result<void> connect(const Endpoint& remote) = 0;
  /// connect(AF_UNSPEC).
  void disconnect() { remote_.reset(); }

  /// Sends one datagram to `to`, or to the connected peer. Binds when unbound. kDestAddrReq,
  /// kMsgSize, kAcces (broadcast not enabled), kNetUnreach, kHostUnreach, kNoBufs, or a
  /// pending ICMP error. The bytes are kernel memory.
  virtual Result<size_t> send(std::span<const std::byte> payload, const std::optional<Endpoint>& to,
                              const DatagramSource& source = {}) = 0;
  /// The next datagram, removed from the queue. kAgain, or a pending error.
  Result<Datagram> receive();
  /// The next datagram left where it is, valid until the lock is released; or as receive().
  Result<const Datagram*> peek();
  /// The next of the error queue [ip(7) IP_RECVERR]. kAgain.
  Result<DatagramError> receive_queued_error();

  Result<void> shutdown_read();
  Result<void> shutdown_write();
  /// Unbinds and drops what is queued; the observer is not called again. Idempotent.
  void close();

  [[nodiscard]] PollEvents events() const;
  Result<void> take_error();
  [[nodiscard]] Endpoint local() const { return local_; }
  /// kNotConn.
  [[nodiscard]] Result<Endpoint> remote() const;
  /// Size of the next datagram (FIONREAD), 0 when there is none.
  [[nodiscard]] size_t next_datagram_size() const;
  [[nodiscard]] const DatagramOptions& options() const { return options_; }
  Result<void> set_options(const DatagramOptions& options);
  /// IP_ADD_MEMBERSHIP and IP_DROP_MEMBERSHIP; interface 0: by route. kInval, kAddrInUse, kNoDev,
  /// kAddrNotAvail, kNoBufs.
  Result<void> join_group(IpAddress group, uint32_t interface);
  Result<void> leave_group(IpAddress group, uint32_t interface);
  /// Joining a first source joins the group, leaving the last leaves it. kInval when not a member,
  /// or one of the other mode; kAddrNotAvail when it is so already; kNoDev, kNoBufs, kNoMem.
  Result<void> change_source(SourceChange change, IpAddress group, uint32_t interface,
                             IpAddress source);
  /// IP_MSFILTER: all at once. To hear nobody is to leave the group. Errors as above.
  Result<void> set_source_filter(IpAddress group, uint32_t interface, const SourceFilter& filter);
  /// Valid while the lock is held. kInval, kNoDev, kAddrNotAvail.
  Result<SourceFilter> source_filter(IpAddress group, uint32_t interface);
  [[nodiscard]] uint64_t dropped() const { return dropped_; }
  [[nodiscard]] SocketIdentity identity() const {
    return observer_ != nullptr ? observer_->socket_identity() : SocketIdentity{};
  }

 protected:
  /// Out of the layer's tables.
  virtual void unregister() = 0;

  /// Where `destination` is reached, and what IP's header says, by the options. kNetUnreach,
  /// kAcces.
  struct Path {
    Route route;
    IpFields fields;
  };
  Result<Path> path_to(const Endpoint& destination, const DatagramSource& source,
                       IpProtocol protocol);
  /// connect()'s part that both share: sets remote_ and, when it is open, the local address.
  Result<void> fix_peer(const Endpoint& remote);

  /// Does a packet to a group concern this socket?
  [[nodiscard]] bool wants_group(const IpPacketInfo& info) const;
  /// Queues a copy. kNoBufs when the queue is full, kNoMem.
  Result<void> enqueue(const IpPacketInfo& info, const Endpoint& from,
                       std::span<const std::byte> payload);
  /// `quoted`: what the error shows of the payload.
  void report_error(const IpError& error, const Endpoint& destination,
                    std::span<const std::byte> quoted);
  void notify(PollEvents events) {
    if (observer_ != nullptr) observer_->on_socket_events(events);
  }

  IpLayer& ip_;
  StackContext& context_;
  SocketObserver* observer_ = nullptr;
  const IpAddress any_;  // of the socket's family
  DatagramOptions options_;
  Endpoint local_;
  std::optional<Endpoint> remote_;
  bool bound_ = false;
  bool read_shut_ = false, write_shut_ = false;

 private:
  static constexpr size_t kMaxGroups = 20;  // Linux's igmp_max_memberships
  static constexpr size_t kMaxErrors = 32;

  struct Group {
    IpAddress address;
    uint32_t interface = 0;
    FilterMode mode = FilterMode::kExclude;
    SourceList sources = {};
    [[nodiscard]] SourceFilter filter() const { return {mode, sources.get()}; }
  };
  void leave_link(const Group& group);
  Result<Interface*> link_for(IpAddress group, uint32_t interface);
  Group* find_group(IpAddress group, const Interface& link);
  Result<void> add_group(Interface& link, Group group);
  void remove_group(Group& group);
  Result<void> change_filter(Group& group, FilterMode mode, SourceList sources);
  bool join_last(const IpPacketInfo& info, const Endpoint& from,
                 std::span<const std::byte> payload);

  Errno error_{};
  Ring<Datagram, 2> queue_;
  Ring<DatagramError, 1> errors_;
  uint32_t queued_bytes_ = 0;
  uint64_t dropped_ = 0;
  Ring<Group, 1> groups_;
};

}  // namespace aril::net
