#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "net/ip/ip_layer.hpp"
#include "net/tcp/fast_open.hpp"
#include "net/tcp/flow_table.hpp"
#include "net/tcp/port_table.hpp"
#include "net/tcp/tcp_socket.hpp"

namespace aril::net {

struct HalfOpen;

/// What remains of a connection in TIME-WAIT [RFC 9293] 3.6.1: enough to answer stray segments.
struct TimeWait : Flow {
  explicit TimeWait(const FlowKey& flow_key) : Flow(Kind::kTimeWait, flow_key) {}
  ListNode node;
  TcpPort* port = nullptr;
  PortTable::Sharing sharing = PortTable::Sharing::kShared;
  bool timestamps = false;
  uint32_t send_next = 0, receive_next = 0, receive_window = 0;
  uint32_t recent_timestamp = 0, timestamp_offset = 0;
  Instant expiry;
};

/// What /proc/net/tcp and sock_diag(7) show of one socket or connection. For one call.
struct TcpView {
  /// Linux's numbers, for what is due next.
  enum class Timer : uint8_t { kNone, kRetransmit, kKeepAlive, kTimeWait, kProbe };

  Endpoint local, remote;
  TcpState state = TcpState::kClosed;
  size_t transmit_queue = 0, receive_queue = 0;  ///< of a listener: backlog, waiting connections
  SocketIdentity owner = {};
  Timer timer = Timer::kNone;
  Duration timer_left = {};
  uint8_t retransmits = 0;
  bool receive_shut = false, send_shut = false, is_orphan = false;
  uint32_t interface = 0;               ///< SO_BINDTODEVICE
  const TcpOptions* options = nullptr;  ///< null for what is no socket yet, or no longer
  const TcpConnection* connection = nullptr;

  /// TCP_INFO; without a connection only its state is told.
  [[nodiscard]] TcpInfo info() const;
};

/// A segment without data, or the header of one with.
struct SegmentFields {
  uint32_t sequence = 0, acknowledgment = 0;
  TcpFlags flags = TcpFlags::kNone;
  uint16_t window = 0;
  uint8_t time_to_live = 0, type_of_service = 0;  ///< 0: the link's hop limit
  TcpSegmentOptions options = {};
};

/// Linux's net.ipv4.tcp_ecn [RFC 3168]: what connections do about congestion notification.
enum class Ecn : uint8_t { kOff = 0, kRequest = 1, kAccept = 2 };

/// TCP [RFC 9293]: finds the connection, listener or TIME_WAIT record that a segment belongs to.
class TcpLayer final : public Transport {
 public:
  explicit TcpLayer(IpLayer& ip);
  ~TcpLayer();

  /// `any`: the unspecified address of the socket's family. kNoMem.
  Result<RefPtr<TcpSocket>> create_socket(IpAddress any = {});
  /// Called with the address when a socket begins to listen.
  void set_listen_hook(void (*hook)(void*, const Endpoint&), void* context) {
    listen_hook_ = hook;
    listen_hook_context_ = context;
  }

  /// For connections that begin from now on.
  void set_ecn(Ecn ecn) { ecn_ = ecn; }
  [[nodiscard]] Ecn ecn() const { return ecn_; }

  /// For handshakes that begin from now on.
  [[nodiscard]] FastOpen& fast_open() { return fast_open_; }

  void receive(const IpPacketInfo& info, std::span<const std::byte> bytes) override;
  void receive_error(const IpError& error, std::span<const std::byte> quoted) override;

  /// Calls `function(context, view)` for every listener, connection and TIME_WAIT record.
  void for_each(void (*function)(void*, const TcpView&), void* context);
  [[nodiscard]] size_t connection_count() const { return flows_.size(); }
  [[nodiscard]] size_t time_wait_count() const { return time_wait_count_; }

 private:
  friend class TcpSocket;
  friend class TcpConnection;
  friend class TcpListener;
  friend struct HalfOpen;

  // Sending.
  void send(const Route& route, const FlowKey& flow, const SegmentFields& fields,
            std::span<const TxPiece> payload, uint32_t payload_length, uint16_t segment_size);
  /// [RFC 9293] 3.10.7.1: the reset that answers a segment that belongs to nothing.
  void send_reset(const TcpSegment& cause);
  /// [RFC 5961] 7: challenge acknowledgments are limited for the whole stack.
  bool may_challenge();

  // Connections.
  uint32_t initial_sequence(const FlowKey& flow);
  [[nodiscard]] uint32_t timestamp_offset(const FlowKey& flow) const;
  [[nodiscard]] uint32_t timestamp_clock() const {
    return static_cast<uint32_t>(context_.now.ns / 1'000'000);
  }
  /// Picks the local port of a connect() and checks that the pair is free. kAddrNotAvail.
  Result<uint16_t> pick_connect_port(const Endpoint& remote, Endpoint local);
  [[nodiscard]] bool is_pair_free(const FlowKey& flow);

  // Listeners.
  TcpListener* find_listener(const TcpSegment& segment, uint32_t interface);
  void receive_for_listener(const TcpSegment& segment, const IpPacketInfo& info,
                            uint32_t minimum_sequence);
  void receive_half_open(HalfOpen& half, const TcpSegment& segment, const IpPacketInfo& info);

  // TIME-WAIT.
  void enter_time_wait(TimeWait* record);
  void remove_time_wait(TimeWait& record);
  void receive_time_wait(TimeWait& record, const TcpSegment& segment, const IpPacketInfo& info);
  void on_time_wait_timer();

  IpLayer& ip_;
  StackContext& context_;
  FlowTable flows_;
  PortTable ports_;
  IntrusiveList<TimeWait, &TimeWait::node> time_waits_;  // by expiry
  size_t time_wait_count_ = 0;
  size_t max_time_wait_;
  WheelTimer time_wait_timer_;
  size_t orphan_count_ = 0;
  Ecn ecn_ = Ecn::kAccept;
  FastOpen fast_open_;
  uint32_t challenge_budget_ = 1000;
  Instant challenge_window_;
  void (*listen_hook_)(void*, const Endpoint&) = nullptr;
  void* listen_hook_context_ = nullptr;
};

}  // namespace aril::net
