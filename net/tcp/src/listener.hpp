#pragma once
#include <cstdint>
#include <optional>

#include "base/intrusive_list.hpp"
#include "base/ref_ptr.hpp"
#include "connection.hpp"
#include "net/buffer/ring.hpp"
#include "net/tcp/tcp_layer.hpp"

namespace aril::net {

/// What a SYN asked for and we agreed to.
struct SynParameters {
  uint32_t initial_send = 0, initial_receive = 0;  // ISS, IRS
  uint32_t peer_window = 0;
  uint16_t peer_mss = 536;  // [RFC 9293] 3.7.1 (MUST-15)
  bool timestamps = false, sack = false, window_scaling = false, ecn = false;
  uint8_t send_scale = 0, receive_scale = 0;
  uint32_t recent_timestamp = 0, timestamp_offset = 0;
  Duration round_trip;                      ///< of the SYN-ACK; zero: not known
  std::optional<FastOpenCookie> fast_open;  ///< for the first SYN-ACK
};

/// A connection in SYN-RECEIVED: small, because anyone can make us create them.
struct HalfOpen : Flow {
  HalfOpen(TcpListener& owner, const FlowKey& flow_key)
      : Flow(Kind::kHalfOpen, flow_key), listener(&owner), timer(run_timer, this) {}
  static void run_timer(void* self);

  ListNode node;
  TcpListener* listener;
  SynParameters syn;
  Route route;
  uint8_t retransmits = 0;
  bool deferred = false;       // the handshake is complete, TCP_DEFER_ACCEPT waits for data
  bool defer_is_over = false;  // it waited long enough
  Instant started, deadline;
  WheelTimer timer;
};

/// A listening socket's state: connections on their way in.
class TcpListener final : public RefCounted {
 public:
  TcpListener(TcpLayer& layer, TcpSocket& socket);
  ~TcpListener();

  /// A segment for the listening port that belongs to no connection.
  void receive(const TcpSegment& segment, const IpPacketInfo& info, uint32_t minimum_sequence);
  void receive_half_open(HalfOpen& half, const TcpSegment& segment, const IpPacketInfo& info);
  void on_half_open_timer(HalfOpen& half);
  /// Resets everything that was not accepted, and lets go of the socket.
  void close();
  RefPtr<TcpConnection> take();
  [[nodiscard]] bool has_pending() const { return !accepted_.empty(); }
  [[nodiscard]] size_t pending_count() const { return accepted_.size(); }
  /// A connection that was opened early is established, or gone.
  void note_early_end() { --early_count_; }
  /// Before note_early_end(): by a reset.
  void note_early_reset();
  [[nodiscard]] const FastOpenKeys& fast_open_keys() const;

  TcpSocket* socket;
  const Endpoint local;
  TcpOptions options;
  unsigned backlog = 0;
  TcpListener* next_on_port = nullptr;

 private:
  void receive_syn(const TcpSegment& segment, const IpPacketInfo& info, uint32_t minimum_sequence);
  SynParameters negotiate(const TcpSegment& segment, const FlowKey& flow) const;
  void send_syn_ack(const HalfOpen& half);
  void send_syn_ack(const Route& route, const FlowKey& flow, const SynParameters& syn,
                    uint32_t timestamp);
  void send_cookie(const TcpSegment& segment, const Route& route, const FlowKey& flow);
  void receive_cookie(const TcpSegment& segment, const IpPacketInfo& info);
  /// Makes the connection and queues it for accept(); null when there is no room.
  TcpConnection* establish(const FlowKey& flow, const Route& route, const SynParameters& syn,
                           HalfOpen* half);
  /// True when the SYN opened a connection; else `answer` is the cookie to give, if any.
  bool open_early(const TcpSegment& segment, const Route& route, const FlowKey& flow,
                  uint32_t minimum_sequence, std::optional<FastOpenCookie>& answer);
  bool establish_early(const TcpSegment& segment, const Route& route, const FlowKey& flow,
                       uint32_t minimum_sequence, bool renew_cookie);
  [[nodiscard]] bool has_early_room();
  void destroy(HalfOpen& half);
  [[nodiscard]] bool is_accept_queue_full() const { return accepted_.size() > backlog; }

  TcpLayer& layer_;
  StackContext& context_;
  Ring<RefPtr<TcpConnection>, 1> accepted_;
  IntrusiveList<HalfOpen, &HalfOpen::node> half_open_;
  size_t half_open_count_ = 0;
  size_t early_count_ = 0;
  Ring<Instant, 1> early_resets_;  // until when each counts
};

/// SYN cookies: the state of a half-open connection in its sequence number and timestamp
/// (D. J. Bernstein's idea; [RFC 4987] 3.6).
namespace syn_cookie {
/// The sequence number for our SYN-ACK.
uint32_t make(const SipKey& key, const FlowKey& flow, uint32_t peer_sequence, uint16_t peer_mss,
              Instant now);
/// The MSS that was in the SYN, or 0 when the cookie is false or older than two minutes.
uint16_t check(const SipKey& key, const FlowKey& flow, uint32_t peer_sequence, uint32_t cookie,
               Instant now);
}  // namespace syn_cookie

}  // namespace aril::net
