#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/intrusive_list.hpp"
#include "base/poll_events.hpp"
#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "net/buffer/packet.hpp"
#include "net/buffer/socket_observer.hpp"
#include "net/wire/address.hpp"

namespace aril::net {

class UdpLayer;

struct UdpOptions {
  bool broadcast = false;
  bool reuse_address = false;
  bool reuse_port = false;
  bool receive_errors = false;  ///< IP_RECVERR: ICMP errors are reported on unconnected sockets too
  bool dont_fragment = false;   ///< IP_MTU_DISCOVER other than IP_PMTUDISC_DONT
  uint32_t send_buffer = 212992;
  uint32_t receive_buffer = 212992;
  uint8_t type_of_service = 0;
  uint8_t time_to_live = 64;
  uint8_t multicast_time_to_live = 1;
  bool multicast_loop = true;
  bool v6_only = false;              ///< IPV6_V6ONLY
  bool ipv6_dont_fragment = false;   ///< IPV6_DONTFRAG, or IPV6_MTU_DISCOVER
  uint8_t traffic_class = 0;         ///< IPV6_TCLASS
  uint8_t hop_limit = 0;             ///< IPV6_UNICAST_HOPS; 0: the link's
  uint8_t multicast_hop_limit = 1;   ///< IPV6_MULTICAST_HOPS
  uint32_t multicast_interface = 0;  ///< IPV6_MULTICAST_IF; 0: by route
  uint32_t interface = 0;            ///< SO_BINDTODEVICE: index, 0 for any
};

/// A received datagram. `payload()` is the data; the rest feeds recvmsg and IP_PKTINFO.
struct UdpDatagram {
  Endpoint from;
  IpAddress to;
  uint32_t interface = 0;
  uint8_t time_to_live = 0;
  uint8_t type_of_service = 0;
  Instant received;
  PacketPtr packet;
  uint32_t offset = 0, length = 0;
  [[nodiscard]] std::span<const std::byte> payload() const {
    return packet->bytes().subspan(offset, length);
  }
};

/// Where to send, beside the destination: IP_PKTINFO's choices.
struct UdpSource {
  IpAddress address;                       ///< unspecified: by route
  uint32_t interface = 0;                  ///< 0: by route
  int hop_limit = -1, traffic_class = -1;  ///< of this datagram alone, IPv6; -1: the socket's
};

/// An application's handle on UDP. Non-blocking; every method needs the stack's lock.
class UdpSocket final : public RefCounted {
 public:
  /// Not for use: see UdpLayer::create_socket.
  UdpSocket(UdpLayer& layer, IpAddress any) : layer_(layer), any_(any), local_{.address = any} {}
  ~UdpSocket();

  void set_observer(SocketObserver* observer) { observer_ = observer; }

  /// Port 0 picks one. kInval when bound already, kAddrInUse, kAddrNotAvail.
  Result<void> bind(const Endpoint& local);
  /// Fixes the peer: sends go there, datagrams from others are not delivered. kNetUnreach, kAcces.
  Result<void> connect(const Endpoint& remote);
  /// connect(AF_UNSPEC).
  void disconnect();

  /// Sends one datagram to `to`, or to the connected peer. Binds when unbound. kDestAddrReq,
  /// kMsgSize, kAcces (broadcast not enabled), kNetUnreach, kHostUnreach, kNoBufs, or a
  /// pending ICMP error. The bytes are kernel memory.
  Result<size_t> send(std::span<const std::byte> payload, const std::optional<Endpoint>& to,
                      const UdpSource& source = {});
  /// The next datagram, removed from the queue. kAgain, or a pending error.
  Result<UdpDatagram> receive();
  /// The next datagram left where it is, valid until the lock is released; or as receive().
  Result<const UdpDatagram*> peek();

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
  [[nodiscard]] const UdpOptions& options() const { return options_; }
  Result<void> set_options(const UdpOptions& options);
  /// IP_ADD_MEMBERSHIP and IP_DROP_MEMBERSHIP. kInval, kAddrInUse, kAddrNotAvail, kNoBufs.
  Result<void> join_group(IpAddress group, uint32_t interface);
  Result<void> leave_group(IpAddress group, uint32_t interface);
  [[nodiscard]] uint64_t dropped() const { return dropped_; }

 private:
  friend class UdpLayer;
  static constexpr size_t kMaxGroups = 20;  // Linux's igmp_max_memberships

  struct Group {
    IpAddress address;
    uint32_t interface = 0;
  };
  void leave_link(const Group& group);
  void deliver(UdpDatagram datagram);
  void report_error(Errno error);
  void notify(PollEvents events);

  UdpLayer& layer_;
  SocketObserver* observer_ = nullptr;
  const IpAddress any_;  // of the socket's family
  UdpOptions options_;
  Endpoint local_;
  std::optional<Endpoint> remote_;
  Errno error_{};
  bool bound_ = false;
  bool read_shut_ = false, write_shut_ = false;
  UdpSocket* next_in_bucket_ = nullptr;
  Ring<UdpDatagram, 2> queue_;
  uint32_t queued_bytes_ = 0;
  uint64_t dropped_ = 0;
  Ring<Group, 1> groups_;
};

}  // namespace aril::net
