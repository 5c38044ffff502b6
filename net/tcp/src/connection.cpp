#include "connection.hpp"

#include <algorithm>

#include "listener.hpp"

namespace aril::net {
namespace {

constexpr uint32_t kDefaultReceiveBuffer = 128 * 1024;
constexpr uint32_t kMaxReceiveBuffer = 6 * 1024 * 1024;
constexpr uint32_t kMinSendBuffer = 128 * 1024, kMaxSendBuffer = 4 * 1024 * 1024;
constexpr uint32_t kPressedBuffer = 16 * 1024;
constexpr uint32_t kTimestampSpace = 12;
constexpr size_t kMaxOrphans = 8192;

}  // namespace

TcpConnection::TcpConnection(TcpLayer& layer, const FlowKey& flow, const Route& route,
                             const TcpOptions& options)
    : Flow(Kind::kConnection, flow),
      layer_(layer),
      context_(layer.context_),
      sharing_(options.reuse_address ? PortTable::Sharing::kShared
                                     : PortTable::Sharing::kExclusive),
      route_(route),
      options_(options),
      path_mtu_(layer.ip_.path_mtu(route, flow.remote.address)),
      path_mtu_changes_(layer.ip_.path_mtu_changes()),
      queued_(layer.context_),
      received_(layer.context_),
      timer_(run_timers, this) {
  deadlines_.fill(Instant::never());
  receive_buffer_ = options.receive_buffer != 0 ? options.receive_buffer : kDefaultReceiveBuffer;
  // [RFC 7323] 2.2: large enough for what the buffer may become.
  uint32_t largest = options.receive_buffer != 0 ? options.receive_buffer : kMaxReceiveBuffer;
  while (receive_scale_ < 14 && largest >> receive_scale_ > 65535) ++receive_scale_;
  congestion_.set_algorithm(options.congestion);
  last_received_ = last_sent_ = round_start_ = context_.now;
}

TcpConnection::~TcpConnection() { ARIL_ASSERT(!in_table_); }

Result<RefPtr<TcpConnection>> TcpConnection::create(TcpLayer& layer, const FlowKey& flow,
                                                    const Route& route, const TcpOptions& options) {
  auto connection = ARIL_TRY(try_make_ref<TcpConnection>(layer, flow, route, options));
  connection->port_ = ARIL_TRY(layer.ports_.add_flow(flow.local.port, connection->sharing_));
  if (auto inserted = layer.flows_.insert(*connection); !inserted) {
    layer.ports_.remove_flow(*connection->port_, connection->sharing_);
    return fail(inserted.error());
  }
  connection->in_table_ = true;
  connection->add_ref();  // the table's
  return connection;
}

void TcpConnection::leave_table() {
  if (!in_table_) return;
  in_table_ = false;
  leave_early();
  deadlines_.fill(Instant::never());
  context_.timers.cancel(timer_);
  layer_.flows_.remove(*this);
  layer_.ports_.remove_flow(*port_, sharing_);
  if (counted_established_) context_.counters.subtract(Counter::kTcpCurrEstab);
  if (counted_orphan_) --layer_.orphan_count_;
  counted_established_ = counted_orphan_ = false;
  queued_.clear();
  log_.clear();
  // Whoever called holds a reference of its own.
  RefPtr<TcpConnection>::adopt(this).reset();
}

void TcpConnection::set_state(TcpState state) {
  bool established = state == TcpState::kEstablished || state == TcpState::kCloseWait;
  if (established && !counted_established_) context_.counters.add(Counter::kTcpCurrEstab);
  if (!established && counted_established_) context_.counters.subtract(Counter::kTcpCurrEstab);
  counted_established_ = established;
  state_ = state;
}

void TcpConnection::compute_mss() {
  uint32_t limit = std::min<uint32_t>(peer_mss_, path_mtu_ - header_size());
  if (options_.max_segment != 0) limit = std::min<uint32_t>(limit, options_.max_segment);
  // [RFC 6691]: the MSS counts options, so what they take comes off each segment.
  if (timestamps_) limit -= std::min(limit, kTimestampSpace);
  mss_ = std::max<uint32_t>(limit, 48);
}

// Another connection to the same peer may have learned of it.
void TcpConnection::follow_path_mtu() {
  path_mtu_changes_ = layer_.ip_.path_mtu_changes();
  uint32_t mtu = layer_.ip_.path_mtu(route_, key.remote.address);
  if (mtu == path_mtu_) return;
  path_mtu_ = mtu;
  compute_mss();
}

void TcpConnection::prepare_active() {
  initial_send_ = layer_.initial_sequence(key);
  timestamp_offset_ = layer_.timestamp_offset(key);
  send_unacknowledged_ = initial_send_;
  send_next_ = initial_send_ + 1;
  last_small_end_ = send_next_;
  queued_.start_at(send_next_);
  set_state(TcpState::kSynSent);
}

void TcpConnection::start_active() {
  if (state_ != TcpState::kSynSent) prepare_active();
  context_.counters.add(Counter::kTcpActiveOpens);
  deferred_ = false;
  send_syn();
  set_timer(Timer::kRetransmit, context_.now + rtt_.rto());
}

void TcpConnection::start_passive(const SynParameters& syn) {
  adopt(syn);
  become_established();
}

void TcpConnection::adopt(const SynParameters& syn) {
  context_.counters.add(Counter::kTcpPassiveOpens);
  awaiting_accept_ = true;
  initial_send_ = syn.initial_send;
  initial_receive_ = syn.initial_receive;
  timestamp_offset_ = syn.timestamp_offset;
  timestamps_ = syn.timestamps;
  recent_timestamp_ = syn.recent_timestamp;
  recent_timestamp_time_ = context_.now;
  sack_ = syn.sack;
  ecn_ = syn.ecn;
  if (syn.round_trip.ns > 0) rtt_.sample(syn.round_trip);
  send_scale_ = syn.window_scaling ? syn.send_scale : 0;
  receive_scale_ = syn.window_scaling ? syn.receive_scale : 0;
  peer_mss_ = syn.peer_mss;
  send_unacknowledged_ = send_next_ = initial_send_ + 1;
  last_small_end_ = send_next_;
  queued_.start_at(send_next_);
  received_.start_at(initial_receive_ + 1);
  last_ack_sent_ = initial_receive_ + 1;
  right_edge_ = last_ack_sent_ + std::min<uint32_t>(receive_buffer_, 65535);
  send_window_ = largest_send_window_ = syn.peer_window;
  window_update_sequence_ = initial_receive_;
  window_update_ack_ = send_unacknowledged_;
}

void TcpConnection::become_established() {
  leave_early();
  set_state(TcpState::kEstablished);
  reduction_end_ = send_unacknowledged_;
  compute_mss();
  congestion_.start(mss_);
  retransmits_ = 0;
  last_received_ = context_.now;
  if (socket_ != nullptr) socket_->was_connected_ = true;
  restart_keep_alive();
}

void TcpConnection::notify(PollEvents events) {
  if (socket_ != nullptr) socket_->notify(events);
}

void TcpConnection::notify_writable() {
  if (!wants_space_ || send_space() * 3 < send_buffer()) return;
  wants_space_ = false;
  notify(kWritable);
}

uint32_t TcpConnection::send_buffer() const {
  if (options_.send_buffer != 0) return options_.send_buffer;
  if (context_.memory.is_under_pressure()) return kPressedBuffer;
  // Twice the congestion window: one in flight, one ready to follow.
  return std::clamp(congestion_.window() * 2, kMinSendBuffer, kMaxSendBuffer);
}

size_t TcpConnection::send_space() const {
  bool open = state_ == TcpState::kEstablished || state_ == TcpState::kCloseWait || is_early();
  if (!open || fin_queued_) return 0;
  if (context_.memory.is_exhausted() && queued_.size() != 0) return 0;
  size_t buffer = send_buffer();
  return buffer > queued_.size() ? buffer - queued_.size() : 0;
}

template <typename Append>
Result<size_t> TcpConnection::send(SendFlags flags, Append append) {
  if (kHasFastOpen && deferred_) {
    size_t taken = has_fast_open_cookie() ? ARIL_TRY(append(size_t{syn_data_limit()})) : 0;
    start_active();
    if (taken != 0) return taken;
  }
  size_t space = send_space();
  if (space == 0) {
    wants_space_ = true;
    return fail(Errno::kAgain);
  }
  size_t taken = ARIL_TRY(append(space));
  more_coming_ = has(flags, SendFlags::kMore);
  output();
  return taken;
}

Result<size_t> TcpConnection::send(std::span<const std::byte> bytes, SendFlags flags) {
  return send(flags, [&](size_t space) {
    return queued_.append(bytes.first(std::min(bytes.size(), space)));
  });
}

Result<size_t> TcpConnection::send(BlockChain& chain, SendFlags flags) {
  return send(flags, [&](size_t space) { return queued_.append(chain, space); });
}

void TcpConnection::consume(size_t count) {
  received_.consume(count);
  if (!in_table_ || fin_received_ || is_early()) return;
  tune_receive_buffer(count);
  // [RFC 9293] 3.8.6.2.2: tell of new room when it is worth a segment.
  uint32_t known = right_edge_ - received_.next();
  uint32_t possible = desired_right_edge() - received_.next();
  if (possible - known >= std::min(2 * mss_, receive_buffer_ / 2) && possible >= 2 * known)
    send_ack();
}

// Doubles the buffer when the application drained half of it within two round trips: then the
// window, not the application, limits the sender.
void TcpConnection::tune_receive_buffer(size_t consumed) {
  if (options_.receive_buffer != 0 || receive_buffer_ >= kMaxReceiveBuffer) return;
  consumed_in_round_ += consumed;
  Duration round = std::max(rtt_.smoothed() * 2, Duration::milliseconds(10));
  if (context_.now - round_start_ > round) {
    consumed_in_round_ = consumed;
    round_start_ = context_.now;
  }
  if (consumed_in_round_ < receive_buffer_ / 2 || context_.memory.is_under_pressure()) return;
  if (context_.memory.used() + receive_buffer_ > context_.memory.limit() / 2) return;
  receive_buffer_ = std::min(receive_buffer_ * 2, kMaxReceiveBuffer);
  consumed_in_round_ = 0;
}

void TcpConnection::shutdown_send() {
  if (fin_queued_ || !in_table_) return;
  fin_queued_ = true;
  more_coming_ = false;
  if (state_ == TcpState::kEstablished) set_state(TcpState::kFinWait1);
  if (state_ == TcpState::kCloseWait) set_state(TcpState::kLastAck);
  output();
}

void TcpConnection::close() {
  RefPtr<TcpConnection> self(this);
  socket_ = nullptr;
  awaiting_accept_ = false;
  bool unread = received_.readable() != 0;
  received_.clear();
  if (!in_table_) return;
  if (state_ == TcpState::kSynSent) {
    set_state(TcpState::kClosed);
    return leave_table();
  }
  bool reset = options_.linger && options_.linger_time.ns == 0;
  if (unread || reset || layer_.orphan_count_ >= kMaxOrphans) {
    // [RFC 2525] 2.17: the peer must learn that its data was not read.
    context_.counters.add(unread  ? Counter::kTcpExtTCPAbortOnClose
                          : reset ? Counter::kTcpExtTCPAbortOnLinger
                                  : Counter::kTcpExtTCPAbortOnMemory);
    return abort();
  }
  ++layer_.orphan_count_;
  counted_orphan_ = true;
  clear_timer(Timer::kKeepAlive);
  shutdown_send();
  if (in_table_ && state_ == TcpState::kFinWait2)
    set_timer(Timer::kClose, context_.now + options_.fin_wait2_timeout);
}

void TcpConnection::abort() {
  RefPtr<TcpConnection> self(this);
  if (!in_table_) return;
  if (state_ != TcpState::kSynSent) send_reset();
  set_state(TcpState::kClosed);
  leave_table();
}

void TcpConnection::fail_with(Errno error) {
  RefPtr<TcpConnection> self(this);
  TcpState before = state_;
  if (before == TcpState::kSynSent) {
    context_.counters.add(Counter::kTcpAttemptFails);
  } else if (before == TcpState::kEstablished || before == TcpState::kCloseWait) {
    context_.counters.add(Counter::kTcpEstabResets);
  }
  set_state(TcpState::kClosed);
  leave_table();
  if (socket_ == nullptr) return;
  socket_->error_ = error;
  notify(PollEvents::kErr | PollEvents::kHup | PollEvents::kRdHup | kReadable | kWritable);
}

void TcpConnection::enter_time_wait() {
  RefPtr<TcpConnection> self(this);
  auto* record = new (std::nothrow) TimeWait(key);
  if (record != nullptr) {
    record->sharing = sharing_;
    record->timestamps = timestamps_;
    record->send_next = send_next_;
    record->receive_next = received_.next() + (fin_received_ ? 1 : 0);
    record->receive_window =
        sequence_after(right_edge_, record->receive_next) ? right_edge_ - record->receive_next : 0;
    record->recent_timestamp = recent_timestamp_;
    record->timestamp_offset = timestamp_offset_;
  }
  set_state(TcpState::kTimeWait);
  leave_table();
  if (record != nullptr) layer_.enter_time_wait(record);
}

void TcpConnection::set_options(const TcpOptions& options) {
  bool push = (options_.cork && !options.cork) || (!options_.no_delay && options.no_delay);
  bool was_alive = options_.keep_alive;
  options_ = options;
  congestion_.set_algorithm(options.congestion);
  if (options.receive_buffer != 0) receive_buffer_ = options.receive_buffer;
  if (!in_table_ || state_ == TcpState::kSynSent) return;
  if (options.keep_alive != was_alive || options.keep_alive) restart_keep_alive();
  if (options.quick_ack && unacked_bytes_ != 0) send_ack();
  if (push && !options.cork) {
    push_partial_ = true;
    more_coming_ = false;
    output();
  }
}

PollEvents TcpConnection::events() const {
  if (state_ == TcpState::kSynSent) return deferred_ ? kWritable : PollEvents::kNone;
  PollEvents events = PollEvents::kNone;
  size_t low_water = std::max<uint32_t>(options_.receive_low_water, 1);
  if (received_.readable() >= std::min<size_t>(low_water, receive_buffer_ / 2)) events |= kReadable;
  if (fin_received_) events |= kReadable | PollEvents::kRdHup;
  // Once the FIN is queued a write would not block: it fails.
  if (fin_queued_ || has_send_space()) {
    events |= kWritable;
  } else {
    wants_space_ = true;
  }
  return events;
}

/// Enough that it is worth waking a writer for.
bool TcpConnection::has_send_space() const {
  if (queued_.end() - send_next_ >= options_.not_sent_low_water) return false;
  // As between requests: there is room for anything.
  if (state_ == TcpState::kEstablished && queued_.size() == 0) return true;
  size_t space = send_space();
  return space != 0 && space * 3 >= send_buffer();
}

TcpInfo TcpConnection::info() const {
  auto microseconds = [](Duration time) { return static_cast<uint32_t>(time.ns / 1000); };
  auto age = [&](Instant time) {
    return static_cast<uint32_t>((context_.now - time).ns / 1'000'000);
  };
  TcpInfo info;
  info.state = state_;
  info.congestion_state = recovery_ == Recovery::kNone ? 0 : recovery_ == Recovery::kFast ? 3 : 4;
  info.retransmits = retransmits_;
  info.probes = probes_;
  info.backoff = static_cast<uint8_t>(rtt_.backoff());
  info.timestamps = timestamps_;
  info.sack = sack_;
  info.ecn = ecn_;
  info.syn_data = syn_data_acked_;
  info.fast_open_failure = fast_open_failure_;
  info.window_scaling = send_scale_ != 0 || receive_scale_ != 0;
  info.send_scale = send_scale_;
  info.receive_scale = receive_scale_;
  info.rto_us = microseconds(rtt_.rto());
  info.ack_timeout_us = 40'000;
  info.send_mss = mss_;
  info.receive_mss = mss_;
  info.unacked = (flight() + mss_ - 1) / mss_;
  info.sacked = log_.sacked_bytes() / mss_;
  info.lost = log_.lost_bytes() / mss_;
  info.retransmitting = log_.retransmitting_bytes() / mss_;
  info.last_data_sent_ms = age(last_sent_);
  info.last_data_received_ms = info.last_ack_received_ms = age(last_received_);
  info.path_mtu = path_mtu_;
  info.rtt_us = microseconds(rtt_.smoothed());
  info.rtt_variance_us = microseconds(rtt_.variation());
  info.min_rtt_us = microseconds(rtt_.minimum());
  info.slow_start_threshold = congestion_.threshold() / mss_;
  info.congestion_window = congestion_.window() / mss_;
  info.advertised_mss = static_cast<uint32_t>(route_.interface->mtu()) - header_size();
  info.receive_space = receive_buffer_;
  info.total_retransmits = total_retransmits_;
  info.bytes_acked = bytes_acked_;
  info.bytes_received = bytes_received_;
  info.bytes_sent = bytes_sent_;
  info.bytes_retransmitted = bytes_retransmitted_;
  info.segments_out = segments_out_;
  info.segments_in = segments_in_;
  info.data_segments_out = data_segments_out_;
  info.data_segments_in = data_segments_in_;
  info.not_sent_bytes = static_cast<uint32_t>(queued_.size()) -
                        std::min<uint32_t>(static_cast<uint32_t>(queued_.size()), flight());
  info.send_window = send_window_;
  info.receive_window = right_edge_ - received_.next();
  return info;
}

}  // namespace aril::net
