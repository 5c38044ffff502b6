#include <algorithm>

#include "connection.hpp"

namespace aril::net {

// [RFC 9293] 3.10.7.4, fifth.
bool TcpConnection::receive_acknowledgment(const TcpSegment& segment) {
  uint32_t acknowledgment = segment.acknowledgment;
  if (state_ == TcpState::kSynReceived) {
    if (!sequence_after(acknowledgment, send_unacknowledged_) ||
        sequence_after(acknowledgment, send_next_)) {
      layer_.send_reset(segment);
      return false;
    }
    send_unacknowledged_ = initial_send_ + 1;
    clear_timer(Timer::kRetransmit);
    if (early_ && retransmits_ == 0) rtt_.sample(context_.now - handshake_start_);
    rtt_.reset_backoff();
    become_established();
    update_send_window(segment);
    if (flight() != 0) arm_loss_timers();
    if (fin_queued_) set_state(TcpState::kFinWait1);
    notify(kWritable);
    if (!in_table_) return false;
  }
  // [RFC 5961] 5.2: an acknowledgment from far in the past is an attack or a ghost.
  bool too_old = sequence_before(acknowledgment, send_unacknowledged_ - largest_send_window_);
  if (too_old || sequence_after(acknowledgment, send_next_)) {
    context_.counters.drop(DropReason::kTcpBadAck);
    challenge();
    return false;
  }
  Progress progress;
  if (timestamps_ && segment.options.timestamps)
    progress.echo_clock = segment.options.timestamps->echo - timestamp_offset_;
  process_sack(segment, progress);
  bool window_changed = static_cast<uint32_t>(segment.window) << send_scale_ != send_window_;
  if (sequence_after(acknowledgment, send_unacknowledged_)) {
    acknowledge_new(segment, progress);
    if (!in_table_) return false;
    update_send_window(segment);
    // Pieces that filled gaps below may complete the picture of what is lost.
    detect_loss(false, progress);
  } else if (acknowledgment == send_unacknowledged_) {
    // [RFC 5681] 2: the definition of a duplicate acknowledgment.
    bool duplicate = flight() != 0 && segment.payload.empty() && !segment.is(TcpFlags::kFin) &&
                     (!window_changed || progress.delivered != 0);
    update_send_window(segment);
    detect_loss(duplicate, progress);
  }
  judge_probe(acknowledgment, progress);
  if (ecn_) receive_congestion_echo(segment);
  notify_writable();
  return true;
}

void TcpConnection::update_send_window(const TcpSegment& segment) {
  // [RFC 9293] 3.10.7.4: only from segments not older than the last that did.
  bool newer = sequence_before(window_update_sequence_, segment.sequence) ||
               (window_update_sequence_ == segment.sequence &&
                sequence_at_most(window_update_ack_, segment.acknowledgment));
  if (!newer) return;
  send_window_ = static_cast<uint32_t>(segment.window) << send_scale_;
  largest_send_window_ = std::max(largest_send_window_, send_window_);
  window_update_sequence_ = segment.sequence;
  window_update_ack_ = segment.acknowledgment;
  if (send_window_ != 0 && is_set(Timer::kPersist)) {
    clear_timer(Timer::kPersist);
    rtt_.reset_backoff();
  }
}

void TcpConnection::acknowledge_new(const TcpSegment& segment, Progress& progress) {
  uint32_t acknowledgment = segment.acknowledgment;
  progress.acknowledged = acknowledgment - send_unacknowledged_;
  bool was_limited = pipe() + mss_ >= congestion_.window();
  bytes_acked_ += progress.acknowledged;
  measure_rtt(acknowledgment, segment);
  send_unacknowledged_ = acknowledgment;
  queued_.acknowledge(sequence_min(acknowledgment, queued_.end()));
  log_.acknowledge(acknowledgment,
                   [&](const TransmitLog::Record& record) { note_delivered(record, progress); });
  retransmits_ = 0;
  rtt_.reset_backoff();
  soft_error_ = Errno{};
  if (kHasMtuSearch && mtu_search_.probe != 0 &&
      sequence_at_most(mtu_search_.probe_end, acknowledgment))
    mtu_probe_arrived();
  if (recovery_ == Recovery::kNone) {
    duplicate_acks_ = 0;
    // [RFC 7661]'s concern: a window that was not used must not grow.
    if (was_limited)
      congestion_.on_acknowledged(progress.acknowledged, mss_, context_.now, rtt_.smoothed());
  } else {
    advance_recovery(progress);
  }
  arm_loss_timers();
  finish_if_fin_acknowledged();
}

void TcpConnection::note_delivered(const TransmitLog::Record& record, Progress& progress) {
  progress.delivered += record.length();
  if (sack_) rack_.on_delivered(record, context_.now, rtt_.minimum(), progress.echo_clock);
}

// [RFC 3168] 6.1.2: congestion without loss, answered once in a window.
void TcpConnection::receive_congestion_echo(const TcpSegment& segment) {
  if (!segment.is(TcpFlags::kEce) || recovery_ != Recovery::kNone || flight() == 0) return;
  if (sequence_before(send_unacknowledged_, reduction_end_)) return;
  congestion_.on_loss(flight(), mss_);
  announce_reduction_ = true;
  reduction_end_ = send_next_;
}

void TcpConnection::finish_if_fin_acknowledged() {
  if (!fin_sent_ || send_unacknowledged_ != queued_.end() + 1) return;
  switch (state_) {
    case TcpState::kFinWait1:
      set_state(TcpState::kFinWait2);
      if (is_orphan()) set_timer(Timer::kClose, context_.now + options_.fin_wait2_timeout);
      notify(kWritable);  // a lingering close may be waiting
      break;
    case TcpState::kClosing:
      enter_time_wait();
      notify(kWritable | PollEvents::kHup);
      break;
    case TcpState::kLastAck:
      set_state(TcpState::kClosed);
      leave_table();
      notify(kWritable | PollEvents::kHup);
      break;
    default:
      break;
  }
}

// [RFC 6298] 3: never from segments that were sent twice (Karn), unless timestamps tell them apart
// [RFC 7323] 4.1.
void TcpConnection::measure_rtt(uint32_t acknowledgment, const TcpSegment& segment) {
  if (timing_ && sequence_at_most(timed_sequence_, acknowledgment)) {
    timing_ = false;
    return rtt_.sample(context_.now - timed_start_);
  }
  if (timing_ || !timestamps_ || !segment.options.timestamps || retransmits_ == 0) return;
  uint32_t elapsed =
      layer_.timestamp_clock() + timestamp_offset_ - segment.options.timestamps->echo;
  if (elapsed < 60'000) rtt_.sample(Duration::milliseconds(elapsed));
}

void TcpConnection::process_sack(const TcpSegment& segment, Progress& progress) {
  if (!sack_ || segment.options.sack_count == 0) return;
  const TcpSegmentOptions& options = segment.options;
  // [RFC 2883] 4: a first block that was acknowledged, or lies inside the second, reports a
  // duplicate.
  const SackBlock &first = options.sack[0], &second = options.sack[1];
  bool inside_second = options.sack_count > 1 && sequence_at_most(second.start, first.start) &&
                       sequence_at_most(first.end, second.end);
  bool is_recent = !sequence_before(first.start, send_unacknowledged_ - largest_send_window_) &&
                   sequence_before(first.start, first.end) &&
                   sequence_at_most(first.end, send_next_);
  if (is_recent && (sequence_at_most(first.end, segment.acknowledgment) || inside_second)) {
    progress.duplicate_report = true;
    context_.counters.add(Counter::kTcpExtTCPDSACKRecv);
  }
  if (flight() == 0) return;
  for (const SackBlock& block : std::span(options.sack).first(options.sack_count)) {
    bool valid = sequence_before(block.start, block.end) &&
                 sequence_after(block.start, segment.acknowledgment) &&
                 sequence_after(block.start, send_unacknowledged_) &&
                 sequence_at_most(block.end, send_next_);
    if (valid)
      log_.sack(block.start, block.end,
                [&](const TransmitLog::Record& record) { note_delivered(record, progress); });
  }
}

}  // namespace aril::net
