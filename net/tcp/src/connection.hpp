#pragma once
#include <array>
#include <cstdint>
#include <optional>

#include "base/ref_ptr.hpp"
#include "congestion.hpp"
#include "net/tcp/tcp_layer.hpp"
#include "rack.hpp"
#include "receive_queue.hpp"
#include "send_queue.hpp"
#include "transmit_log.hpp"

namespace aril::net {

/// Tiny kernels keep segments small once a black hole was found, until the path's entry expires.
#ifdef ARIL_TINY
inline constexpr bool kHasMtuSearch = false;
#else
inline constexpr bool kHasMtuSearch = true;
#endif

struct SynParameters;

/// One end of a TCP connection: the transmission control block of [RFC 9293] 3.3.1 and what acts on
/// it. Divided over input.cpp (arriving segments), acknowledgment.cpp (their ACK field), output.cpp
/// (what to send), recovery.cpp (what to send again), timers.cpp, and connection.cpp (life cycle).
///
/// Life cycle: made by connect() or by a completed handshake; in the layer's flow table, which
/// owns a reference, until the protocol is done with it. Its TcpSocket, if any, owns another. After
/// leave_table() it only serves reads of what was received.
class TcpConnection final : public Flow, public RefCounted {
 public:
  static Result<RefPtr<TcpConnection>> create(TcpLayer& layer, const FlowKey& flow,
                                              const Route& route, const TcpOptions& options);
  ~TcpConnection();

  // connection.cpp
  /// Sends the SYN, with what was queued for it.
  void start_active();
  void start_passive(const SynParameters& syn);
  // fast_open.cpp
  /// A connection that has sent nothing yet: waits for the data of its SYN. False without a cookie.
  bool defer();
  [[nodiscard]] bool is_deferred() const { return deferred_; }
  /// Sends a SYN with the first of `bytes`; how many, 0 when it asks for a cookie instead.
  Result<size_t> start_with(std::span<const std::byte> bytes);
  /// The peer's cookie was good: in SYN-RECEIVED, with the SYN's data to read, and free to answer.
  void start_early(const SynParameters& syn, const TcpSegment& segment, TcpListener& listener,
                   bool renew_cookie);
  /// Of one that was not started: as if it had never been.
  void abandon();
  void attach(TcpSocket* socket) { socket_ = socket; }
  /// The application's last close.
  void close();
  void abort();
  void shutdown_send();
  void set_options(const TcpOptions& options);
  /// Ends the connection with an error for the application.
  void fail_with(Errno error);
  [[nodiscard]] PollEvents events() const;
  [[nodiscard]] TcpInfo info() const;
  void describe(TcpView& view) const;  // tcp_view.cpp

  // For the application: connection.cpp
  [[nodiscard]] size_t send_space() const;
  template <typename Append>
  Result<size_t> send(SendFlags flags, Append append);
  Result<size_t> send(std::span<const std::byte> bytes, SendFlags flags);
  Result<size_t> send(BlockChain& chain, SendFlags flags);
  void consume(size_t count);

  // input.cpp
  void receive(const TcpSegment& segment);
  void receive_error(const IpError& error, uint32_t sequence);

  // output.cpp
  /// Sends what may be sent now.
  void output();
  void send_ack();

  [[nodiscard]] TcpState state() const { return state_; }
  [[nodiscard]] const ReceiveQueue& received() const { return received_; }
  [[nodiscard]] const SendQueue& queued() const { return queued_; }
  [[nodiscard]] bool is_send_shut() const { return fin_queued_; }
  [[nodiscard]] bool has_received_fin() const { return fin_received_; }
  [[nodiscard]] bool is_drained() const {
    return !in_table_ || (fin_queued_ && send_unacknowledged_ == queued_.end() + 1);
  }
  [[nodiscard]] uint32_t next_unsent() const { return send_next_; }
  [[nodiscard]] uint32_t mss() const { return mss_; }
  [[nodiscard]] uint32_t send_buffer() const;
  [[nodiscard]] uint32_t receive_buffer() const { return receive_buffer_; }
  [[nodiscard]] TcpOptions& options() { return options_; }

  /// Not for use: see create().
  TcpConnection(TcpLayer& layer, const FlowKey& flow, const Route& route,
                const TcpOptions& options);

 private:
  enum class Timer : uint8_t {
    kRetransmit,
    kProbe,    ///< the tail loss probe's [RFC 8985] 7
    kReorder,  ///< when what was overtaken counts as lost [RFC 8985] 6.3
    kPersist,
    kDelayedAck,
    kCork,
    kKeepAlive,
    kClose,
  };
  static constexpr size_t kTimers = 8;
  enum class Recovery : uint8_t {
    kNone,
    kFast,  ///< [RFC 8985], or [RFC 6582] without SACK: what came after them shows what is lost
    kLoss,  ///< after a timeout
  };
  /// What one acknowledgment brought.
  struct Progress {
    uint32_t delivered = 0;                   ///< bytes that are known to have arrived only now
    uint32_t acknowledged = 0;                ///< bytes that SND.UNA moved
    bool duplicate_report = false;            ///< D-SACK [RFC 2883]
    std::optional<uint32_t> echo_clock = {};  ///< our timestamp clock as the peer echoes it
  };

  // connection.cpp
  void set_state(TcpState state);
  void prepare_active();
  void adopt(const SynParameters& syn);
  void become_established();
  void compute_mss();
  void follow_path_mtu();
  /// Of IP and TCP, without options.
  [[nodiscard]] uint32_t header_size() const {
    return network_header_size(key.remote.address) + uint32_t{sizeof(TcpHeader)};
  }
  void leave_table();
  void enter_time_wait();
  void notify(PollEvents events);
  void notify_writable();
  [[nodiscard]] bool has_send_space() const;
  [[nodiscard]] bool is_orphan() const { return socket_ == nullptr && !awaiting_accept_; }
  void tune_receive_buffer(size_t consumed);

  // fast_open.cpp
  [[nodiscard]] bool has_fast_open_cookie() const;
  [[nodiscard]] uint32_t syn_data_limit() const;
  /// What a SYN carries for fast open: its option and data.
  size_t fill_syn(SegmentFields& fields, std::span<TxPiece> pieces);
  void receive_fast_open_answer(const TcpSegment& answer);
  /// SYN-RECEIVED of a connection that was opened early is over.
  void leave_early();
  [[nodiscard]] bool is_early() const { return early_ && state_ == TcpState::kSynReceived; }

  // input.cpp
  void receive_in_syn_sent(const TcpSegment& segment);
  void receive_synchronized(const TcpSegment& segment);
  bool check_timestamps(const TcpSegment& segment);
  bool check_sequence(const TcpSegment& segment);
  void receive_reset(const TcpSegment& segment);
  void challenge();
  bool receive_data(const TcpSegment& segment);
  void receive_fin();
  void note_ack_needed(uint32_t length, bool in_order);

  // acknowledgment.cpp
  /// False when the segment must not be processed further.
  bool receive_acknowledgment(const TcpSegment& segment);
  void acknowledge_new(const TcpSegment& segment, Progress& progress);
  void update_send_window(const TcpSegment& segment);
  void process_sack(const TcpSegment& segment, Progress& progress);
  void note_delivered(const TransmitLog::Record& record, Progress& progress);
  void receive_congestion_echo(const TcpSegment& segment);
  void measure_rtt(uint32_t acknowledgment, const TcpSegment& segment);
  void finish_if_fin_acknowledged();

  // recovery.cpp
  [[nodiscard]] uint32_t flight() const { return send_next_ - send_unacknowledged_; }
  [[nodiscard]] uint32_t pipe() const;
  /// What may be in the network now.
  [[nodiscard]] uint32_t sending_window() const;
  void detect_loss(bool is_duplicate, const Progress& progress);
  bool find_overtaken();
  void enter_recovery(Recovery kind);
  void enter_fast_recovery(const Progress& progress);
  void advance_recovery(const Progress& progress);
  void leave_recovery();
  /// [RFC 3522]: takes back a reduction that an acknowledgment of the original shows as needless.
  bool undo_if_spurious(const Progress& progress);
  void spread_reduction(const Progress& progress);
  void retransmit_lost();
  void retransmit(uint32_t sequence, uint32_t length);
  void on_retransmit_timeout();
  void shrink_for_black_hole();
  void arm_loss_timers();
  void arm_probe();
  void on_probe();
  void judge_probe(uint32_t acknowledgment, const Progress& progress);

  // mtu_search.cpp
  /// That the link and the peer take.
  [[nodiscard]] uint32_t largest_packet() const;
  void start_mtu_search(Instant when);
  /// While something is searched for.
  void probe_mtu();
  void mtu_probe_arrived();
  void mtu_probe_lost();
  /// Then nothing is said about congestion [RFC 4821] 7.
  [[nodiscard]] bool is_only_mtu_probe_lost() const;

  // output.cpp
  void send_new_data();
  [[nodiscard]] bool may_send_partial(uint32_t length, uint32_t unsent);
  enum class Push : uint8_t { kNo, kYes };
  /// Sends `length` bytes of queued data; the number that went out.
  uint32_t transmit(uint32_t sequence, uint32_t length, TcpFlags flags);
  void send_syn();
  void send_control(uint32_t sequence, TcpFlags flags);
  void send_reset();
  void fill_common(SegmentFields& fields);
  void add_sack_blocks(TcpSegmentOptions& options);
  [[nodiscard]] uint32_t desired_right_edge() const;
  uint16_t choose_window();
  void note_ack_sent();

  // timers.cpp
  static void run_timers(void* self);
  void set_timer(Timer timer, Instant deadline);
  void clear_timer(Timer timer) { deadlines_[static_cast<size_t>(timer)] = Instant::never(); }
  [[nodiscard]] bool is_set(Timer timer) const {
    return deadlines_[static_cast<size_t>(timer)] != Instant::never();
  }
  void on_timer(Timer timer);
  void on_persist();
  void on_keep_alive();
  void restart_keep_alive();
  [[nodiscard]] bool has_given_up(unsigned limit) const;
  [[nodiscard]] uint32_t timestamp_now() const {
    return layer_.timestamp_clock() + timestamp_offset_;
  }

  TcpLayer& layer_;
  StackContext& context_;
  TcpSocket* socket_ = nullptr;
  TcpPort* port_ = nullptr;
  PortTable::Sharing sharing_;
  Route route_;
  TcpOptions options_;
  TcpState state_ = TcpState::kClosed;
  Recovery recovery_ = Recovery::kNone;
  bool in_table_ = false;
  bool awaiting_accept_ = false;
  bool counted_established_ = false, counted_orphan_ = false;

  // Fast open [RFC 7413].
  bool deferred_ = false;        // the SYN waits for the first data
  bool asks_fast_open_ = false;  // the first SYN has the option, or data
  bool early_ = false;         // opened by a SYN with a cookie: sends before the handshake is done
  bool renew_cookie_ = false;  // the cookie was of the backup key
  bool syn_data_acked_ = false;
  uint8_t fast_open_failure_ = 0;
  uint32_t syn_data_ = 0;               // bytes in our first SYN
  RefPtr<TcpListener> early_listener_;  // which counts us, during the handshake
  Instant handshake_start_;

  // What the handshake agreed on.
  bool timestamps_ = false, sack_ = false;
  uint8_t send_scale_ = 0, receive_scale_ = 0;
  uint16_t peer_mss_ = 536;
  uint32_t path_mtu_ = 0, path_mtu_changes_ = 0;
  uint32_t mss_ = 536;  // payload bytes per segment
  struct MtuSearch {
    uint32_t high = 0;  // larger packets do not get through; 0: nothing is searched for
    Instant next = {};  // not before
    bool tries_largest = false;
    uint32_t probe = 0;  // the size of the packet that tries; 0: none
    uint32_t probe_start = 0, probe_end = 0;
  };
  MtuSearch mtu_search_;

  // Send sequence space.
  uint32_t initial_send_ = 0, initial_receive_ = 0;
  uint32_t send_unacknowledged_ = 0, send_next_ = 0;
  uint32_t send_window_ = 0, largest_send_window_ = 0;
  uint32_t window_update_sequence_ = 0, window_update_ack_ = 0;  // SND.WL1, SND.WL2
  uint32_t last_small_end_ = 0;  // end of the last segment below the MSS (Minshall)
  bool fin_queued_ = false, fin_sent_ = false;
  bool more_coming_ = false;          // MSG_MORE
  bool push_partial_ = false;         // the queue's end goes out although it is no whole segment
  mutable bool wants_space_ = false;  // the application was told kAgain
  SendQueue queued_;

  // Receive sequence space.
  uint32_t right_edge_ = 0;  // of the window that the peer knows
  uint32_t last_ack_sent_ = 0;
  uint32_t receive_buffer_ = 0;
  uint32_t unacked_bytes_ = 0;  // received since the last acknowledgment was sent
  bool ack_now_ = false;
  bool fin_received_ = false, fin_seen_ = false;
  uint32_t fin_sequence_ = 0;
  ReceiveQueue received_;
  size_t consumed_in_round_ = 0;
  Instant round_start_;

  // Timestamps.
  uint32_t recent_timestamp_ = 0, timestamp_offset_ = 0;
  Instant recent_timestamp_time_;

  // Round trips, congestion and loss.
  RttEstimator rtt_;
  CongestionWindow congestion_;
  TransmitLog log_;
  Rack rack_;
  bool timing_ = false;
  uint32_t timed_sequence_ = 0;
  Instant timed_start_;
  uint32_t recovery_point_ = 0;
  // [RFC 6937]
  uint32_t recovery_flight_ = 0, recovery_delivered_ = 0, recovery_sent_ = 0, recovery_window_ = 0;
  // [RFC 3522]
  CongestionWindow before_recovery_;
  uint32_t first_repeat_clock_ = 0;
  bool may_undo_ = false, has_repeated_ = false;
  // The tail loss probe that is in flight.
  bool probing_ = false, probe_repeats_ = false;
  uint32_t probe_end_ = 0;
  // [RFC 3168]
  bool ecn_ = false;
  bool echo_congestion_ = false;  // until the peer says that it slowed down
  bool announce_reduction_ = false;
  uint32_t reduction_end_ = 0;
  SackBlock duplicate_report_{};  // of the next acknowledgment [RFC 2883]; empty: none
  uint8_t duplicate_acks_ = 0;
  uint8_t retransmits_ = 0;  // of the oldest data, in a row
  uint8_t probes_ = 0;
  Errno soft_error_{};

  // Timers.
  WheelTimer timer_;
  std::array<Instant, kTimers> deadlines_;
  Instant first_retransmit_, last_received_, last_sent_, last_out_of_window_ack_;

  // TCP_INFO.
  uint64_t bytes_acked_ = 0, bytes_received_ = 0, bytes_sent_ = 0, bytes_retransmitted_ = 0;
  uint32_t segments_in_ = 0, segments_out_ = 0, data_segments_in_ = 0, data_segments_out_ = 0;
  uint32_t total_retransmits_ = 0;
};

}  // namespace aril::net
