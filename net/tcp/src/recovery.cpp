#include <algorithm>

#include "connection.hpp"

namespace aril::net {
namespace {
constexpr uint8_t kDuplicateThreshold = 3;  // [RFC 5681] 3.2
constexpr unsigned kMaxRetransmits = 15;    // Linux's tcp_retries2
constexpr unsigned kMaxOrphanRetransmits = 8;
}  // namespace

// An estimate of the bytes in the network [RFC 6675] 4 SetPipe.
uint32_t TcpConnection::pipe() const {
  uint32_t outstanding = flight();
  if (recovery_ == Recovery::kNone) {
    return outstanding - std::min(outstanding, scoreboard_.bytes());
  }
  if (recovery_ == Recovery::kFast && scoreboard_.empty()) {
    // Without SACK each duplicate acknowledgment says that one segment has left [RFC 6582] 3.2.
    return outstanding - std::min(outstanding, duplicate_acks_ * mss_);
  }
  uint32_t total = 0;
  uint32_t from = send_unacknowledged_;
  Scoreboard::Hole hole;
  while (scoreboard_.next_hole(send_unacknowledged_, from, mss_, hole)) {
    bool lost = recovery_ == Recovery::kLoss || hole.is_lost;
    if (!lost) {
      total += hole.end - hole.start;
    } else if (sequence_after(retransmit_next_, hole.start)) {
      total += sequence_min(retransmit_next_, hole.end) - hole.start;
    }
    from = hole.end;
  }
  uint32_t above = scoreboard_.empty() ? send_unacknowledged_ : scoreboard_.highest();
  if (recovery_ == Recovery::kLoss && sequence_before(above, recovery_point_)) {
    if (sequence_after(retransmit_next_, above))
      total += sequence_min(retransmit_next_, recovery_point_) - above;
    above = recovery_point_;
  }
  return total + (send_next_ - above);
}

void TcpConnection::detect_loss(bool is_duplicate, uint32_t newly_sacked) {
  if (is_duplicate && duplicate_acks_ < 255) ++duplicate_acks_;
  if (recovery_ != Recovery::kNone || (!is_duplicate && newly_sacked == 0)) return;
  Scoreboard::Hole hole;
  bool lost = duplicate_acks_ >= kDuplicateThreshold ||
              (scoreboard_.next_hole(send_unacknowledged_, send_unacknowledged_, mss_, hole) &&
               hole.is_lost);
  if (lost) enter_fast_recovery();
}

void TcpConnection::enter_fast_recovery() {
  context_.counters.add(sack_ ? Counter::kTcpExtTCPSackRecovery : Counter::kTcpExtTCPRenoRecovery);
  recovery_ = Recovery::kFast;
  recovery_point_ = send_next_;
  retransmit_next_ = send_unacknowledged_;
  congestion_.on_loss(flight(), mss_);
  // [RFC 6675] 5 (4.3): the first lost segment goes out whatever the window says.
  uint32_t length = std::min(mss_, flight());
  Scoreboard::Hole hole;
  if (scoreboard_.next_hole(send_unacknowledged_, send_unacknowledged_, mss_, hole))
    length = std::min(length, hole.end - hole.start);
  context_.counters.add(Counter::kTcpExtTCPFastRetrans);
  retransmit(send_unacknowledged_, length);
  set_timer(Timer::kRetransmit, context_.now + rtt_.rto());
}

void TcpConnection::advance_recovery(uint32_t acknowledged_bytes) {
  if (sequence_at_most(recovery_point_, send_unacknowledged_)) {
    recovery_ = Recovery::kNone;
    duplicate_acks_ = 0;
    return;
  }
  retransmit_next_ = sequence_max(retransmit_next_, send_unacknowledged_);
  if (recovery_ == Recovery::kLoss) {
    congestion_.on_acknowledged(acknowledged_bytes, mss_, context_.now, rtt_.smoothed());
  } else if (scoreboard_.empty()) {
    // [RFC 6582] 3.2 (3): a partial acknowledgment shows the next hole, which is filled whatever
    // the window says.
    uint32_t segments = (acknowledged_bytes + mss_ - 1) / mss_;
    duplicate_acks_ -= static_cast<uint8_t>(std::min<uint32_t>(duplicate_acks_, segments));
    retransmit_next_ = send_unacknowledged_;
    context_.counters.add(Counter::kTcpExtTCPFastRetrans);
    retransmit(send_unacknowledged_, std::min(mss_, flight()));
  }
}

// [RFC 6675] 4 NextSeg (1); after a timeout, everything that SACK did not report.
bool TcpConnection::next_lost(uint32_t& sequence, uint32_t& length) const {
  uint32_t from = sequence_max(retransmit_next_, send_unacknowledged_);
  Scoreboard::Hole hole;
  if (scoreboard_.next_hole(send_unacknowledged_, from, mss_, hole)) {
    if (recovery_ == Recovery::kFast && !hole.is_lost) return false;
    sequence = hole.start;
    length = std::min(mss_, hole.end - hole.start);
    return true;
  }
  if (!scoreboard_.empty()) from = sequence_max(from, scoreboard_.highest());
  if (recovery_ == Recovery::kFast) {
    // Without SACK only the first unacknowledged segment is known to be lost.
    if (!scoreboard_.empty() || from != send_unacknowledged_) return false;
    from = send_unacknowledged_;
  }
  if (!sequence_before(from, recovery_point_)) return false;
  sequence = from;
  length = std::min(mss_, recovery_point_ - from);
  return true;
}

void TcpConnection::retransmit_lost() {
  uint32_t sequence = 0, length = 0;
  while (recovery_ != Recovery::kNone && next_lost(sequence, length)) {
    uint32_t in_network = pipe();
    if (in_network != 0 && in_network + length > congestion_.window()) return;
    // A window that shrank below sent data: wait for the timer [RFC 9293] 3.8.6.
    if (sequence != send_unacknowledged_ &&
        sequence_after(sequence + length, send_unacknowledged_ + largest_send_window_))
      return;
    context_.counters.add(recovery_ == Recovery::kFast ? Counter::kTcpExtTCPFastRetrans
                                                       : Counter::kTcpExtTCPSlowStartRetrans);
    uint32_t before = retransmit_next_;
    retransmit(sequence, length);
    if (retransmit_next_ == before) return;
  }
}

void TcpConnection::retransmit(uint32_t sequence, uint32_t length) {
  timing_ = false;
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
  ++total_retransmits_;
  context_.counters.add(Counter::kTcpRetransSegs);
  retransmit_next_ = sequence_max(retransmit_next_, sequence + sent);
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
    if (state_ == TcpState::kSynSent) return send_syn();
    return send_control(initial_send_, TcpFlags::kSyn | TcpFlags::kAck);
  }
  bool is_first = retransmits_ == 1 && recovery_ != Recovery::kLoss;
  congestion_.on_timeout(flight(), mss_, is_first);
  recovery_ = Recovery::kLoss;
  recovery_point_ = send_next_;
  retransmit_next_ = send_unacknowledged_;
  duplicate_acks_ = 0;
  // [RFC 2018] 8: the peer may have thrown away what it reported; if timeouts repeat, believe that.
  if (retransmits_ > 1) scoreboard_.clear();
  uint32_t sequence = 0, length = 0;
  if (next_lost(sequence, length)) retransmit(sequence, length);
}

}  // namespace aril::net
