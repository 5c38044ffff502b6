#include <algorithm>

#include "connection.hpp"

namespace aril::net {
namespace {
constexpr uint8_t kDuplicateThreshold = 3;  // [RFC 5681] 3.2
constexpr unsigned kMaxRetransmits = 15;    // Linux's tcp_retries2
constexpr unsigned kMaxOrphanRetransmits = 8;
/// Timeouts in a row after which large segments are suspected, and what is tried then
/// [RFC 8899] 3, Linux's tcp_base_mss.
constexpr unsigned kBlackHoleTimeouts = 3;
constexpr uint32_t kBasePacket = 1024 + 40;
}  // namespace

// An estimate of the bytes in the network [RFC 6675] 4 SetPipe.
uint32_t TcpConnection::pipe() const {
  uint32_t gone = log_.sacked_bytes() + log_.lost_bytes();
  if (!sack_ && recovery_ != Recovery::kLoss) {
    // Without SACK each duplicate acknowledgment says that one segment has left [RFC 6582] 3.2; the
    // first two let new segments out [RFC 3042].
    unsigned duplicates = duplicate_acks_;
    if (recovery_ == Recovery::kNone)
      duplicates = std::min<unsigned>(duplicates, kDuplicateThreshold - 1);
    gone += duplicates * mss_;
  }
  return flight() - std::min(flight(), gone);
}

uint32_t TcpConnection::sending_window() const {
  if (recovery_ == Recovery::kFast && sack_) return recovery_window_;
  return congestion_.window();
}

void TcpConnection::detect_loss(bool is_duplicate, const Progress& progress) {
  if (is_duplicate && duplicate_acks_ < 255) ++duplicate_acks_;
  if (!sack_) {
    if (recovery_ != Recovery::kNone || duplicate_acks_ < kDuplicateThreshold) return;
    log_.mark_first_lost(mss_);
    return enter_fast_recovery(progress);
  }
  if (progress.duplicate_report) rack_.on_duplicate_report(send_unacknowledged_, send_next_);
  if (log_.sacked_bytes() == 0 && recovery_ == Recovery::kNone) return clear_timer(Timer::kReorder);
  bool found = find_overtaken();
  if (kHasMtuSearch && found && recovery_ == Recovery::kNone && is_only_mtu_probe_lost()) return;
  if (found && recovery_ == Recovery::kNone) return enter_fast_recovery(progress);
  if (recovery_ == Recovery::kFast) spread_reduction(progress);
}

// [RFC 8985] 6.2, step 5. True when something is newly lost.
bool TcpConnection::find_overtaken() {
  bool is_certain =
      recovery_ != Recovery::kNone || log_.sacked_bytes() > (kDuplicateThreshold - 1) * mss_;
  Duration window = rack_.window(rtt_.minimum(), rtt_.smoothed(), is_certain);
  Duration longest;
  uint32_t lost = log_.mark_lost([&](const TransmitLog::Record& record) {
    if (!rack_.was_overtaken(record)) return false;
    Duration left = rack_.time_left(record, context_.now, window);
    if (left.ns <= 0) return true;
    longest = std::max(longest, left);
    return false;
  });
  if (longest.ns > 0) {
    set_timer(Timer::kReorder, context_.now + longest);
  } else {
    clear_timer(Timer::kReorder);
  }
  return lost != 0;
}

void TcpConnection::enter_recovery(Recovery kind) {
  if (recovery_ == Recovery::kNone) {
    before_recovery_ = congestion_;
    may_undo_ = timestamps_;
    has_repeated_ = false;
  }
  recovery_ = kind;
  recovery_point_ = send_next_;
  probing_ = false;
  clear_timer(Timer::kProbe);
}

void TcpConnection::enter_fast_recovery(const Progress& progress) {
  context_.counters.add(sack_ ? Counter::kTcpExtTCPSackRecovery : Counter::kTcpExtTCPRenoRecovery);
  enter_recovery(Recovery::kFast);
  recovery_flight_ = std::max(flight(), mss_);
  recovery_delivered_ = recovery_sent_ = 0;
  congestion_.on_loss(flight(), mss_);
  // [RFC 6675] 5 (4.3): the first lost segment goes out whatever the window says.
  spread_reduction(progress);
  recovery_window_ = std::max(recovery_window_, pipe() + mss_);
  if (!sack_) {
    context_.counters.add(Counter::kTcpExtTCPFastRetrans);
    retransmit(send_unacknowledged_, std::min(mss_, flight()));
  }
  set_timer(Timer::kRetransmit, context_.now + rtt_.rto());
}

// [RFC 6937] 3: the window shrinks to its new size with what arrives, not at once.
void TcpConnection::spread_reduction(const Progress& progress) {
  recovery_delivered_ += progress.delivered;
  uint32_t target = congestion_.threshold(), in_network = pipe();
  int64_t allowed = 0;
  if (in_network > target) {
    uint64_t share = uint64_t{recovery_delivered_} * target;
    allowed = static_cast<int64_t>((share + recovery_flight_ - 1) / recovery_flight_) -
              int64_t{recovery_sent_};
  } else {
    int64_t limit =
        std::max<int64_t>(int64_t{recovery_delivered_} - recovery_sent_, progress.delivered) + mss_;
    allowed = std::min<int64_t>(target - in_network, limit);
  }
  recovery_window_ = in_network + static_cast<uint32_t>(std::max<int64_t>(allowed, 0));
}

void TcpConnection::advance_recovery(const Progress& progress) {
  if (undo_if_spurious(progress)) return;
  if (sequence_at_most(recovery_point_, send_unacknowledged_)) return leave_recovery();
  if (recovery_ == Recovery::kLoss) {
    congestion_.on_acknowledged(progress.acknowledged, mss_, context_.now, rtt_.smoothed());
  } else if (!sack_) {
    // [RFC 6582] 3.2 (3): a partial acknowledgment shows the next hole, which is filled whatever
    // the window says.
    uint32_t segments = (progress.acknowledged + mss_ - 1) / mss_;
    duplicate_acks_ -= static_cast<uint8_t>(std::min<uint32_t>(duplicate_acks_, segments));
    log_.mark_first_lost(mss_);
    context_.counters.add(Counter::kTcpExtTCPFastRetrans);
    retransmit(send_unacknowledged_, std::min(mss_, flight()));
  }
}

void TcpConnection::leave_recovery() {
  if (recovery_ == Recovery::kFast) rack_.on_recovery_end();
  recovery_ = Recovery::kNone;
  duplicate_acks_ = 0;
  may_undo_ = false;
}

bool TcpConnection::undo_if_spurious(const Progress& progress) {
  if (!may_undo_ || !has_repeated_ || !progress.echo_clock) return false;
  may_undo_ = false;  // only the first acknowledgment can tell
  if (!sequence_before(*progress.echo_clock, first_repeat_clock_)) return false;
  context_.counters.add(recovery_ == Recovery::kLoss ? Counter::kTcpExtTCPSpuriousRTOs
                                                     : Counter::kTcpExtTCPFullUndo);
  congestion_ = before_recovery_;
  rack_.note_reordering();
  log_.forget_losses();
  leave_recovery();
  return true;
}

void TcpConnection::retransmit_lost() {
  while (const TransmitLog::Record* lost = log_.first_lost()) {
    uint32_t sequence = lost->start, length = std::min(mss_, lost->length());
    uint32_t in_network = pipe();
    if (in_network != 0 && in_network + length > sending_window()) return;
    // A window that shrank below sent data: wait for the timer [RFC 9293] 3.8.6.
    if (sequence != send_unacknowledged_ &&
        sequence_after(sequence + length, send_unacknowledged_ + largest_send_window_))
      return;
    context_.counters.add(recovery_ == Recovery::kFast ? Counter::kTcpExtTCPFastRetrans
                                                       : Counter::kTcpExtTCPSlowStartRetrans);
    uint32_t before = log_.lost_bytes();
    retransmit(sequence, length);
    if (log_.lost_bytes() == before) return;
  }
}

void TcpConnection::retransmit(uint32_t sequence, uint32_t length) {
  timing_ = false;
  if (kHasMtuSearch && mtu_search_.probe != 0 && sequence_before(sequence, mtu_search_.probe_end) &&
      sequence_after(sequence + length, mtu_search_.probe_start))
    mtu_probe_lost();
  uint32_t data_end = queued_.end();
  uint32_t sent = 0;
  if (sequence_before(sequence, data_end)) {
    bool with_fin = fin_sent_ && sequence + length == data_end + 1;
    uint32_t data = sequence_min(sequence + length, data_end) - sequence;
    sent = transmit(sequence, data, with_fin ? TcpFlags::kFin : TcpFlags::kNone);
    bytes_retransmitted_ += sent;
    if (with_fin && sent == data) ++sent;
  } else if (fin_sent_ && sequence == data_end) {
    send_control(sequence, TcpFlags::kFin | TcpFlags::kAck);
    sent = 1;
  }
  if (sent == 0) return;
  if (!has_repeated_) first_repeat_clock_ = layer_.timestamp_clock();
  has_repeated_ = true;
  recovery_sent_ += sent;
  ++total_retransmits_;
  context_.counters.add(Counter::kTcpRetransSegs);
  log_.retransmitted(sequence, sequence + sent, context_.now);
}

bool TcpConnection::has_given_up(unsigned limit) const {
  if (options_.user_timeout.ns > 0)  // [RFC 5482]
    return retransmits_ != 0 && context_.now - first_retransmit_ >= options_.user_timeout;
  return retransmits_ >= (is_orphan() ? std::min(limit, kMaxOrphanRetransmits) : limit);
}

// [RFC 6298] 5.4 to 5.7
void TcpConnection::on_retransmit_timeout() {
  bool handshake = state_ == TcpState::kSynSent || state_ == TcpState::kSynReceived;
  if (!handshake && flight() == 0) return;
  if (has_given_up(handshake ? options_.syn_retries : kMaxRetransmits)) {
    context_.counters.add(Counter::kTcpExtTCPAbortOnTimeout);
    if (!handshake) send_reset();
    return fail_with(soft_error_ != Errno{} ? soft_error_ : Errno::kTimedOut);
  }
  if (retransmits_ == 0) first_retransmit_ = context_.now;
  ++retransmits_;
  context_.counters.add(Counter::kTcpExtTCPTimeouts);
  rtt_.back_off();
  set_timer(Timer::kRetransmit, context_.now + rtt_.rto());
  if (handshake) {
    context_.counters.add(Counter::kTcpRetransSegs);
    ++total_retransmits_;
    timing_ = false;
    if (kHasFastOpen && asks_fast_open_ && retransmits_ == 1)
      layer_.fast_open_.cache.note_loss(key, context_.now);
    if (state_ == TcpState::kSynSent) return send_syn();
    return send_control(initial_send_, TcpFlags::kSyn | TcpFlags::kAck);
  }
  bool is_first = retransmits_ == 1 && recovery_ != Recovery::kLoss;
  enter_recovery(Recovery::kLoss);
  if (retransmits_ > 1) may_undo_ = false;
  congestion_.on_timeout(flight(), mss_, is_first);
  clear_timer(Timer::kReorder);
  duplicate_acks_ = 0;
  // [RFC 2018] 8: the peer has thrown away what it reported; if timeouts repeat, believe that too.
  if (retransmits_ > 1 || log_.is_first_sacked()) {
    if (log_.sacked_bytes() != 0) context_.counters.add(Counter::kTcpExtTCPSACKReneging);
    log_.forget_sacks();
  }
  if (retransmits_ == kBlackHoleTimeouts) shrink_for_black_hole();
  // [RFC 8985] 6.3: what was sent just now may still arrive.
  Duration window = rack_.window(rtt_.minimum(), rtt_.smoothed(), false);
  (void)log_.mark_lost([&](const TransmitLog::Record& record) {
    return record.start == send_unacknowledged_ || !sack_ ||
           rack_.time_left(record, context_.now, window).ns <= 0;
  });
  if (const TransmitLog::Record* lost = log_.first_lost())
    retransmit(lost->start, std::min(mss_, lost->length()));
}

// Somebody on the path drops what is large and does not say so [RFC 8899] 1.1, [RFC 2923] 2.1.
// Without an answer for so long, smaller segments cost little, and may be what gets through; the
// larger ones are tried again one at a time.
void TcpConnection::shrink_for_black_hole() {
  if (path_mtu_ <= kBasePacket || route_.interface->is_loopback()) return;
  uint32_t mtu = key.remote.address.is_v4() ? kBasePacket : uint32_t{kMinIpv6Mtu};
  layer_.ip_.note_path_mtu(key.remote.address, mtu);
  context_.counters.add(Counter::kTcpExtTCPMTUPFail);
  follow_path_mtu();
  if (kHasMtuSearch) start_mtu_search(context_.now);
}

// [RFC 6298] 5.2, 5.3, and [RFC 8985] 7.2
void TcpConnection::arm_loss_timers() {
  if (flight() == 0) {
    clear_timer(Timer::kRetransmit);
    return clear_timer(Timer::kProbe);
  }
  set_timer(Timer::kRetransmit, context_.now + rtt_.rto());
  arm_probe();
}

void TcpConnection::arm_probe() {
  constexpr Duration kDelayedAck = Duration::milliseconds(200), kSlack = Duration::milliseconds(2);
  if (!sack_ || probing_ || recovery_ != Recovery::kNone || log_.sacked_bytes() != 0 ||
      !rtt_.has_sample())
    return clear_timer(Timer::kProbe);
  Duration time = rtt_.smoothed() * 2 + (flight() <= mss_ ? kDelayedAck : kSlack);
  set_timer(Timer::kProbe,
            std::min(context_.now + time, deadlines_[static_cast<size_t>(Timer::kRetransmit)]));
}

// [RFC 8985] 7.3: a segment, so that an acknowledgment shows whether the end of the flight was
// lost.
void TcpConnection::on_probe() {
  if (flight() == 0 || probing_ || recovery_ != Recovery::kNone) return;
  uint32_t window_end = send_unacknowledged_ + send_window_;
  uint32_t unsent = queued_.end() - send_next_;
  probe_repeats_ = fin_sent_ || unsent == 0 || !sequence_after(window_end, send_next_);
  if (probe_repeats_) {
    uint32_t length = std::min(mss_, flight());
    has_repeated_ = false;
    retransmit(send_next_ - length, length);
  } else {
    uint32_t length = std::min({unsent, mss_, window_end - send_next_});
    if (transmit(send_next_, length, TcpFlags::kPsh) == 0) return;
  }
  context_.counters.add(Counter::kTcpExtTCPLossProbes);
  probing_ = true;
  probe_end_ = send_next_;
  set_timer(Timer::kRetransmit, context_.now + rtt_.rto());
}

// [RFC 8985] 7.4: if the probe was what repaired a loss, the window must pay for it.
void TcpConnection::judge_probe(uint32_t acknowledgment, const Progress& progress) {
  if (!probing_ || sequence_before(acknowledgment, probe_end_)) return;
  if (!probe_repeats_ || progress.duplicate_report) {
    probing_ = false;
  } else if (sequence_after(acknowledgment, probe_end_)) {
    probing_ = false;
    context_.counters.add(Counter::kTcpExtTCPLossProbeRecovery);
    congestion_.on_loss(flight() + progress.acknowledged, mss_);
  } else if (progress.acknowledged == 0 && progress.delivered == 0) {
    probing_ = false;  // both arrived
  }
}

}  // namespace aril::net
