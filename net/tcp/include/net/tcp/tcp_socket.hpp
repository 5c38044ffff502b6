#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/flags.hpp"
#include "base/intrusive_list.hpp"
#include "base/poll_events.hpp"
#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "net/buffer/block.hpp"
#include "net/buffer/socket_observer.hpp"
#include "net/wire/address.hpp"

namespace aril::net {

struct FastOpenKeys;

/// A tiny kernel does without fast open: its options say kOpNotSupp.
#ifdef ARIL_TINY
inline constexpr bool kHasFastOpen = false;
#else
inline constexpr bool kHasFastOpen = true;
#endif
class TcpConnection;
class TcpLayer;
class TcpListener;
class TcpPort;

/// [RFC 9293] 3.3.2; the values are Linux's TCP_* (TCP_INFO, /proc/net/tcp).
enum class TcpState : uint8_t {
  kEstablished = 1,
  kSynSent,
  kSynReceived,
  kFinWait1,
  kFinWait2,
  kTimeWait,
  kClosed,
  kCloseWait,
  kLastAck,
  kListen,
  kClosing,
};

enum class CongestionControl : uint8_t { kCubic, kReno };

/// What setsockopt can change. Fields take effect as Linux documents them in tcp(7) and socket(7).
struct TcpOptions {
  bool no_delay = false;
  bool cork = false;
  bool quick_ack = false;
  bool keep_alive = false;
  bool reuse_address = false;
  bool reuse_port = false;
  bool linger = false;   ///< SO_LINGER's l_onoff
  Duration linger_time;  ///< zero with `linger`: close() resets the connection
  Duration keep_idle = Duration::seconds(7200);
  Duration keep_interval = Duration::seconds(75);
  uint8_t keep_count = 9;
  uint8_t syn_retries = 6;                             ///< TCP_SYNCNT
  Duration user_timeout;                               ///< zero: the system's default
  Duration defer_accept;                               ///< zero: off
  Duration fin_wait2_timeout = Duration::seconds(60);  ///< TCP_LINGER2
  uint16_t max_segment = 0;                            ///< TCP_MAXSEG; 0: from the route
  uint32_t send_buffer = 0;                            ///< bytes; 0: tuned automatically
  uint32_t receive_buffer = 0;                         ///< bytes; 0: tuned automatically
  uint32_t not_sent_low_water = ~0u;
  uint32_t fast_open_queue = 0;           ///< TCP_FASTOPEN: handshakes that may be pending; 0: off
  bool fast_open_connect = false;         ///< TCP_FASTOPEN_CONNECT
  bool fast_open_without_cookie = false;  ///< TCP_FASTOPEN_NO_COOKIE
  uint32_t receive_low_water = 1;
  uint8_t type_of_service = 0;
  uint8_t time_to_live = 64;
  uint8_t traffic_class = 0;  ///< IPV6_TCLASS
  uint8_t hop_limit = 0;      ///< IPV6_UNICAST_HOPS; 0: the link's
  bool v6_only = false;       ///< IPV6_V6ONLY
  uint32_t interface = 0;     ///< SO_BINDTODEVICE: index, 0 for any
  CongestionControl congestion = CongestionControl::kCubic;

  [[nodiscard]] uint8_t hops_to(IpAddress peer) const {
    return peer.is_v4() ? time_to_live : hop_limit;
  }
  [[nodiscard]] uint8_t class_to(IpAddress peer) const {
    return peer.is_v4() ? type_of_service : traffic_class;
  }
};

/// What TCP_INFO shows. Times in microseconds, counts in segments where Linux has them so.
struct TcpInfo {
  TcpState state = TcpState::kClosed;
  uint8_t congestion_state = 0, retransmits = 0, probes = 0, backoff = 0;
  bool timestamps = false, sack = false, window_scaling = false, ecn = false, syn_data = false;
  uint8_t fast_open_failure = 0;  ///< enum tcp_fastopen_client_fail
  uint8_t send_scale = 0, receive_scale = 0;
  uint32_t rto_us = 0, ack_timeout_us = 0, send_mss = 0, receive_mss = 0;
  uint32_t unacked = 0, sacked = 0, lost = 0, retransmitting = 0;
  uint32_t last_data_sent_ms = 0, last_data_received_ms = 0, last_ack_received_ms = 0;
  uint32_t path_mtu = 0, receive_slow_start_threshold = 0, rtt_us = 0, rtt_variance_us = 0;
  uint32_t slow_start_threshold = 0, congestion_window = 0, advertised_mss = 0;
  uint32_t receive_rtt_us = 0, receive_space = 0, total_retransmits = 0;
  uint64_t bytes_acked = 0, bytes_received = 0, bytes_sent = 0, bytes_retransmitted = 0;
  uint32_t segments_out = 0, segments_in = 0, data_segments_out = 0, data_segments_in = 0;
  uint32_t not_sent_bytes = 0, min_rtt_us = 0, send_window = 0, receive_window = 0;
};

enum class SendFlags : uint8_t { kNone = 0, kMore = 1 /* MSG_MORE */, kEndOfRecord = 2 };
ARIL_FLAG_OPERATORS(SendFlags);
enum class Shutdown : uint8_t { kRead = 0, kWrite = 1, kBoth = 2 };

/// An application's handle on TCP: first unbound, then a listener or one end of a connection.
///
/// Life cycle: TcpLayer::create_socket or accept() -> ... -> close(). After close() the connection
/// lives on in the layer, without a handle, until the protocol is done with it. Non-blocking
/// throughout: kAgain means "wait for the observer". Every method, and dropping the last
/// reference, needs the stack's lock.
class TcpSocket final : public RefCounted {
 public:
  /// Not for use: see TcpLayer::create_socket.
  TcpSocket(TcpLayer& layer, IpAddress any);
  ~TcpSocket();

  /// `observer` outlives the socket or is set to null.
  void set_observer(SocketObserver* observer);

  /// Port 0 picks a free one. kInval when bound already, kAddrInUse, kAddrNotAvail.
  Result<void> bind(const Endpoint& local);
  /// Also changes the backlog of a listener. kAddrInUse, kIsConn→kInval.
  Result<void> listen(unsigned backlog);
  /// kInProgress when the handshake was begun (watch for kOut, then error()); kAlready while it
  /// runs; kIsConn; kNetUnreach; kAddrNotAvail when no port is free. After a failed handshake its
  /// error once.
  /// With TCP_FASTOPEN_CONNECT and a cookie for the peer nothing is sent, and this succeeds: the
  /// first send() puts its data into the SYN.
  Result<void> connect(const Endpoint& remote);
  /// MSG_FASTOPEN [RFC 7413]: begins the handshake with the first of `bytes` in its SYN; how many.
  /// kInProgress when the peer's cookie is not known: it is asked for one, and took nothing.
  /// kOpNotSupp when the client's side is off. Else as connect().
  Result<size_t> connect(const Endpoint& remote, std::span<const std::byte> bytes);
  /// connect() promised a connection that the first send() is to begin.
  [[nodiscard]] bool is_deferred() const;
  /// connect(AF_UNSPEC): back to an unbound socket, the connection reset.
  Result<void> disconnect();
  /// The next complete connection; options are inherited. kAgain, kInval when not listening.
  Result<RefPtr<TcpSocket>> accept();

  /// Bytes that send() would take now; 0 when it would fail or return kAgain.
  [[nodiscard]] size_t send_space() const;
  /// Queues bytes; the count taken (at least 1). kAgain, kPipe (shut down), kNotConn, or the
  /// pending error.
  Result<size_t> send(std::span<const std::byte> bytes, SendFlags flags = SendFlags::kNone);
  /// As above without copying large pieces: takes from the front of `chain` what there is room for.
  Result<size_t> send(BlockChain& chain, SendFlags flags = SendFlags::kNone);

  /// Copies; 0 is the end of the stream. kAgain, kNotConn, or the pending error.
  Result<size_t> receive(std::span<std::byte> out);
  /// Shares up to `limit` bytes that lie `skip` bytes ahead (kernel buffers; read-only) without
  /// consuming them: copy them out without the lock, then consume(). An empty chain is the end of
  /// the stream. Errors as receive().
  Result<BlockChain> peek(size_t limit, size_t skip = 0);
  /// count <= what peek() showed. Opens the window.
  void consume(size_t count);

  /// kNotConn.
  Result<void> shutdown(Shutdown how);
  /// The application's last close. Unread data or a zero linger time reset the connection; else
  /// what is queued is still delivered. The observer is not called again. Idempotent.
  void close();
  /// For a lingering close, between shutdown(kBoth) and close(): all data and FIN acknowledged, or
  /// the connection gone.
  [[nodiscard]] bool is_drained() const;
  /// Resets at once.
  void abort();

  [[nodiscard]] PollEvents events() const;
  /// SO_ERROR: the pending error, cleared. nullopt-like: has_value() when there is none.
  Result<void> take_error();

  [[nodiscard]] TcpState state() const;
  [[nodiscard]] bool is_listening() const { return static_cast<bool>(listener_); }
  /// Unspecified address or port 0 where not bound.
  [[nodiscard]] Endpoint local() const;
  /// kNotConn.
  [[nodiscard]] Result<Endpoint> remote() const;
  /// FIONREAD; SIOCOUTQ; SIOCOUTQNSD.
  [[nodiscard]] size_t readable_bytes() const;
  [[nodiscard]] size_t unacknowledged_bytes() const;
  [[nodiscard]] size_t unsent_bytes() const;

  [[nodiscard]] const TcpOptions& options() const { return options_; }
  /// Takes a changed copy; clearing cork or setting no_delay pushes what is held back. kInval,
  /// kPerm.
  Result<void> set_options(const TcpOptions& options);
  /// The same in place, each value within its range; options_changed() follows.
  [[nodiscard]] TcpOptions& options_to_change() { return options_; }
  void options_changed();
  /// As in force, SO_SNDBUF and SO_RCVBUF.
  [[nodiscard]] uint32_t send_buffer_size() const;
  [[nodiscard]] uint32_t receive_buffer_size() const;
  [[nodiscard]] uint16_t max_segment() const;
  [[nodiscard]] TcpInfo info() const;
  [[nodiscard]] SocketIdentity identity() const {
    return observer_ != nullptr ? observer_->socket_identity() : SocketIdentity{};
  }
  /// TCP_FASTOPEN_KEY: of this socket, or else of all; 16 bytes each. kInval, kNoMem.
  Result<void> set_fast_open_keys(std::span<const std::byte> bytes);
  [[nodiscard]] const FastOpenKeys& fast_open_keys() const;

 private:
  friend class TcpLayer;
  friend class TcpListener;
  friend class TcpConnection;
  friend class PortTable;
  friend class TcpPort;

  void notify(PollEvents events) {
    if (observer_ != nullptr) observer_->on_socket_events(events);
  }
  [[nodiscard]] Result<void> can_send() const;
  /// True: bytes are there; false: the end of the stream.
  Result<bool> can_receive(size_t skip);
  /// Makes the connection, which has sent nothing yet.
  Result<void> prepare_connection(const Endpoint& remote);
  void let_go_of_connection();
  void stop_listening();

  TcpLayer& layer_;
  SocketObserver* observer_ = nullptr;
  const IpAddress any_;  // of the socket's family
  TcpOptions options_;
  Endpoint bound_;
  ListNode port_node_;
  TcpPort* port_ = nullptr;  // while bind() holds it
  Errno error_{};
  bool was_connected_ = false, receive_shut_ = false, send_shut_ = false, closed_ = false;
  RefPtr<TcpListener> listener_;
  RefPtr<TcpConnection> connection_;
  std::unique_ptr<FastOpenKeys> fast_open_keys_;
};

}  // namespace aril::net
