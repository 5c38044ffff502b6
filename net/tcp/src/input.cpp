#include <algorithm>

#include "base/image_use.hpp"
#include "connection.hpp"
#include "listener.hpp"

namespace aril::net {
namespace {
// Linux's tcp_invalid_ratelimit: answers to segments outside the window must not become a loop
// between two confused ends.
constexpr Duration kOutOfWindowAckInterval = Duration::milliseconds(500);
constexpr Duration kTimestampLifetime = Duration::seconds(24 * 24 * 3600);  // [RFC 7323] 5.5
}  // namespace

void TcpConnection::receive(const TcpSegment& segment) {
  RefPtr<TcpConnection> self(this);
  ++segments_in_;
  if (state_ == TcpState::kSynSent) return receive_in_syn_sent(segment);
  receive_synchronized(segment);
}

// [RFC 9293] 3.10.7.3
ARIL_ONLY_FOR(connect)
void TcpConnection::receive_in_syn_sent(const TcpSegment& segment) {
  bool has_ack = segment.is(TcpFlags::kAck);
  // What the SYN carried may be acknowledged with it, wholly or in part.
  if (has_ack && segment.acknowledgment - send_next_ > syn_data_) {
    if (!segment.is(TcpFlags::kRst)) layer_.send_reset(segment);
    return context_.counters.drop(DropReason::kTcpBadAck);
  }
  if (segment.is(TcpFlags::kRst)) {
    if (!has_ack) return context_.counters.drop(DropReason::kTcpRstOutsideWindow);
    return fail_with(Errno::kConnRefused);
  }
  if (!segment.is(TcpFlags::kSyn)) return context_.counters.drop(DropReason::kTcpBadSynFlags);
  if (deferred_) return context_.counters.drop(DropReason::kTcpBadAck);  // of nothing that we sent

  const TcpSegmentOptions& options = segment.options;
  initial_receive_ = segment.sequence;
  received_.start_at(segment.sequence + 1);
  last_ack_sent_ = segment.sequence + 1;
  right_edge_ = last_ack_sent_ + std::min<uint32_t>(receive_buffer_, 65535);
  if (options.max_segment != 0) peer_mss_ = options.max_segment;
  timestamps_ = options.timestamps.has_value();
  if (timestamps_) {
    recent_timestamp_ = options.timestamps->value;
    recent_timestamp_time_ = context_.now;
  }
  sack_ = options.sack_permitted;
  // [RFC 3168] 6.1.1: the answer has ECE alone; a crossing SYN both.
  bool offered = layer_.ecn() == Ecn::kRequest && retransmits_ == 0;
  ecn_ = offered && segment.is(TcpFlags::kEce) && segment.is(TcpFlags::kCwr) != has_ack;
  if (options.window_scale) {
    send_scale_ = std::min<uint8_t>(*options.window_scale, 14);  // [RFC 7323] 2.3
  } else {
    receive_scale_ = 0;
  }
  send_window_ = largest_send_window_ = segment.window;  // never scaled in a SYN
  window_update_sequence_ = segment.sequence;
  window_update_ack_ = segment.acknowledgment;
  if (!has_ack) {
    // Simultaneous open [RFC 9293] 3.5, figure 8.
    compute_mss();
    if (syn_data_ != 0 && retransmits_ == 0) {
      log_.sent(send_next_, send_next_ + syn_data_, context_.now);
      send_next_ += syn_data_;
    }
    set_state(TcpState::kSynReceived);
    retransmits_ = 0;
    send_control(initial_send_, TcpFlags::kSyn | TcpFlags::kAck);
    return;
  }
  if (kHasFastOpen && asks_fast_open_) receive_fast_open_answer(segment);
  send_unacknowledged_ = send_next_ = last_small_end_ = segment.acknowledgment;
  queued_.acknowledge(send_unacknowledged_);
  clear_timer(Timer::kRetransmit);
  if (retransmits_ == 0) rtt_.sample(context_.now - last_sent_);
  rtt_.reset_backoff();
  become_established();
  notify(kWritable);
  if (!in_table_) return;
  if (fin_queued_) set_state(TcpState::kFinWait1);
  send_ack();
  output();
}

// [RFC 9293] 3.10.7.4
void TcpConnection::receive_synchronized(const TcpSegment& segment) {
  if (!check_timestamps(segment) || !check_sequence(segment)) return;
  if (segment.is(TcpFlags::kRst)) return receive_reset(segment);
  if (segment.is(TcpFlags::kSyn)) {
    // A peer's crossing SYN-ACK of a simultaneous open repeats the SYN that we have.
    if (is_early() && !segment.is(TcpFlags::kAck) && segment.sequence == initial_receive_)
      return send_control(initial_send_, TcpFlags::kSyn | TcpFlags::kAck);  // ours was lost
    bool crossing = state_ == TcpState::kSynReceived && segment.is(TcpFlags::kAck) &&
                    segment.sequence == initial_receive_;
    if (!crossing) {
      context_.counters.add(Counter::kTcpExtTCPSYNChallenge);
      context_.counters.drop(DropReason::kTcpSynInWindow);
      return challenge();  // [RFC 5961] 4
    }
  }
  if (!segment.is(TcpFlags::kAck)) return context_.counters.drop(DropReason::kTcpBadAck);
  // [RFC 7323] 4.3 (2)
  if (timestamps_ && segment.options.timestamps &&
      sequence_at_most(segment.sequence, last_ack_sent_)) {
    recent_timestamp_ = segment.options.timestamps->value;
    recent_timestamp_time_ = context_.now;
  }
  last_received_ = context_.now;
  probes_ = 0;
  if (!receive_acknowledgment(segment) || !in_table_) return;
  if (!segment.payload.empty() && !receive_data(segment)) return;
  if (segment.is(TcpFlags::kFin) && !fin_received_) {
    uint32_t sequence = segment.sequence + static_cast<uint32_t>(segment.payload.size()) +
                        (segment.is(TcpFlags::kSyn) ? 1 : 0);
    if (sequence_at_most(sequence, right_edge_)) {
      fin_seen_ = true;
      fin_sequence_ = sequence;
      if (sequence != received_.next()) ack_now_ = true;
    }
  } else if (segment.is(TcpFlags::kFin)) {
    ack_now_ = true;  // our acknowledgment of it was lost
  }
  if (fin_seen_ && !fin_received_ && fin_sequence_ == received_.next()) receive_fin();
  if (in_table_) output();
}

// [RFC 7323] 5.3 R1: PAWS.
bool TcpConnection::check_timestamps(const TcpSegment& segment) {
  if (!timestamps_ || !segment.options.timestamps || segment.is(TcpFlags::kRst)) return true;
  if (!sequence_before(segment.options.timestamps->value, recent_timestamp_)) return true;
  if (context_.now - recent_timestamp_time_ > kTimestampLifetime) return true;
  context_.counters.add(Counter::kTcpExtPAWSEstab);
  context_.counters.drop(DropReason::kTcpPaws);
  ack_now_ = true;
  output();
  return false;
}

bool TcpConnection::check_sequence(const TcpSegment& segment) {
  // A crossing SYN-ACK lies just before the window.
  if (state_ == TcpState::kSynReceived && segment.sequence == initial_receive_ &&
      segment.is(TcpFlags::kSyn))
    return true;
  // As Linux: a segment that reaches our last acknowledgment and begins no later than the right
  // edge may carry a useful ACK even when its data is old or does not fit.
  bool acceptable = !sequence_before(segment.end(), last_ack_sent_) &&
                    sequence_at_most(segment.sequence, right_edge_);
  if (acceptable) return true;
  context_.counters.drop(DropReason::kTcpOutsideWindow);
  if (segment.is(TcpFlags::kRst)) return false;
  // Keep-alive probes and repeated data want an answer; bare ACKs get one seldom.
  bool due = segment.length() != 0 || segment.sequence + 1 == received_.next() ||
             context_.now - last_out_of_window_ack_ >= kOutOfWindowAckInterval;
  if (due) {
    last_out_of_window_ack_ = context_.now;
    if (sack_ && !segment.payload.empty() && sequence_at_most(segment.end(), received_.next()))
      duplicate_report_ = {segment.sequence, segment.end()};
    send_ack();
  }
  return false;
}

// [RFC 5961] 3.2: only the exact next sequence number resets.
void TcpConnection::receive_reset(const TcpSegment& segment) {
  if (segment.sequence != received_.next() + (fin_received_ ? 1 : 0)) {
    context_.counters.drop(DropReason::kTcpRstOutsideWindow);
    return challenge();
  }
  switch (state_) {
    case TcpState::kSynReceived:
      if (!early_listener_) return fail_with(early_ ? Errno::kConnReset : Errno::kConnRefused);
      // [RFC 7413] 5.1: resets, as answers to forged addresses, must not make room for more.
      early_listener_->note_early_reset();
      return fail_with(Errno::kConnReset);
    case TcpState::kCloseWait:
      return fail_with(Errno::kPipe);
    default:
      return fail_with(Errno::kConnReset);
  }
}

void TcpConnection::challenge() {
  if (!layer_.may_challenge()) return;
  context_.counters.add(Counter::kTcpExtTCPChallengeACK);
  send_ack();
}

void TcpConnection::note_ack_needed(uint32_t length, bool in_order) {
  unacked_bytes_ += length;
  // [RFC 5681] 4.2: at least every second full segment, and at once around gaps.
  if (!in_order || unacked_bytes_ >= 2 * mss_ || options_.quick_ack || received_.has_gaps()) {
    ack_now_ = true;
  } else if (!is_set(Timer::kDelayedAck)) {
    set_timer(Timer::kDelayedAck, context_.now + Duration::milliseconds(40));
  }
}

// False when the connection is gone.
bool TcpConnection::receive_data(const TcpSegment& segment) {
  uint32_t sequence = segment.sequence + (segment.is(TcpFlags::kSyn) ? 1 : 0);
  std::span<const std::byte> bytes = segment.payload;
  if (fin_received_) {
    ack_now_ = true;
    return true;  // [RFC 9293] 3.10.7.4, seventh: nothing comes after a FIN
  }
  auto end = static_cast<uint32_t>(sequence + bytes.size());
  if (is_orphan() && sequence_after(end, received_.next())) {
    // [RFC 1122] 4.2.2.13: data for an application that closed will never be read.
    context_.counters.add(Counter::kTcpExtTCPAbortOnData);
    context_.counters.drop(DropReason::kTcpAfterClose);
    abort();
    return false;
  }
  ++data_segments_in_;
  if (ecn_) {
    // [RFC 3168] 6.1.3
    if (segment.is(TcpFlags::kCwr)) echo_congestion_ = false;
    if (segment.congestion_experienced) {
      echo_congestion_ = true;
      ack_now_ = true;
    }
  }
  if (sequence_after(end, right_edge_)) {
    if (!sequence_before(sequence, right_edge_)) {
      context_.counters.drop(DropReason::kTcpOutsideWindow);
      context_.counters.add(Counter::kTcpExtTCPToZeroWindowAdv);
      ack_now_ = true;
      return true;
    }
    bytes = bytes.first(right_edge_ - sequence);
  }
  // A FIN that was seen ends the stream: what claims to lie beyond it is not believed.
  if (fin_seen_ && sequence_after(sequence + static_cast<uint32_t>(bytes.size()), fin_sequence_)) {
    if (!sequence_before(sequence, fin_sequence_)) return true;
    bytes = bytes.first(fin_sequence_ - sequence);
  }
  if (context_.memory.is_exhausted() && received_.has_gaps()) {
    context_.counters.add(Counter::kTcpExtPruneCalled);
    context_.counters.add(Counter::kTcpExtOfoPruned);
    received_.prune();
  }
  uint32_t before = received_.next();
  bool had_gaps = received_.has_gaps();
  if (sack_ && sequence_before(sequence, before))
    duplicate_report_ = {sequence, sequence_min(end, before)};
  switch (received_.add(sequence, bytes)) {
    case ReceiveQueue::Added::kInOrder: {
      uint32_t arrived = received_.next() - before;
      bytes_received_ += arrived;
      note_ack_needed(static_cast<uint32_t>(bytes.size()), !had_gaps);
      notify(kReadable);
      break;
    }
    case ReceiveQueue::Added::kAhead:
      context_.counters.add(Counter::kTcpExtTCPOFOQueue);
      ack_now_ = true;
      break;
    case ReceiveQueue::Added::kDuplicate:
      if (sack_ && !sequence_before(sequence, before)) duplicate_report_ = {sequence, end};
      ack_now_ = true;
      break;
    case ReceiveQueue::Added::kTooManyGaps:
      context_.counters.add(Counter::kTcpExtTCPOFODrop);
      context_.counters.drop(DropReason::kTcpTooManyGaps);
      ack_now_ = true;
      break;
    case ReceiveQueue::Added::kNoMemory:
      context_.counters.add(Counter::kTcpExtTCPRcvQDrop);
      context_.counters.drop(DropReason::kTcpNoMemory);
      break;
  }
  return true;
}

// [RFC 9293] 3.10.7.4, eighth.
void TcpConnection::receive_fin() {
  fin_received_ = true;
  ack_now_ = true;
  switch (state_) {
    case TcpState::kSynReceived:
    case TcpState::kEstablished:
      set_state(TcpState::kCloseWait);
      break;
    case TcpState::kFinWait1:
      set_state(TcpState::kClosing);
      break;
    case TcpState::kFinWait2:
      send_ack();
      enter_time_wait();
      break;
    default:
      break;
  }
  PollEvents events = kReadable | PollEvents::kRdHup;
  if (fin_queued_) events |= PollEvents::kHup;
  notify(events);
}

// [RFC 1122] 4.2.3.9, with [RFC 5927] 4.1: only about data that is in flight.
void TcpConnection::receive_error(const IpError& error, uint32_t sequence) {
  RefPtr<TcpConnection> self(this);
  if (sequence_before(sequence, send_unacknowledged_) || !sequence_before(sequence, send_next_))
    return context_.counters.drop(DropReason::kIcmpErrorIrrelevant);
  if (error.redirect != nullptr) {
    (void)layer_.ip_.accept_redirect(*error.redirect);
    return;
  }
  if (error.next_hop_mtu != 0) {
    // The answer to a larger segment that only tried: it will be missed, and sent again smaller.
    if (kHasMtuSearch && mtu_search_.probe > error.next_hop_mtu && error.next_hop_mtu >= path_mtu_)
      mtu_search_.high = std::min<uint32_t>(mtu_search_.high, error.next_hop_mtu);
    // [RFC 1191] 6.3: smaller segments, and what did not fit is sent again at once.
    if (error.next_hop_mtu >= path_mtu_ || state_ == TcpState::kSynSent) return;
    layer_.ip_.note_path_mtu(key.remote.address, error.next_hop_mtu);
    follow_path_mtu();
    if (recovery_ == Recovery::kNone) {
      enter_recovery(Recovery::kLoss);
      may_undo_ = false;
    }
    (void)log_.mark_lost([](const TransmitLog::Record&) { return true; });
    return output();
  }
  if (state_ == TcpState::kSynSent || state_ == TcpState::kSynReceived) {
    if (error.is_fatal || error.error == Errno::kHostUnreach || error.error == Errno::kNetUnreach)
      return fail_with(error.error);
    return;
  }
  soft_error_ = error.error;  // reported if the connection times out
}

}  // namespace aril::net
