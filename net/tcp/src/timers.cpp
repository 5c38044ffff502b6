#include <algorithm>

#include "connection.hpp"

namespace aril::net {

void TcpConnection::set_timer(Timer timer, Instant deadline) {
  deadlines_[static_cast<size_t>(timer)] = deadline;
  if (!timer_.is_armed_by(deadline)) context_.timers.arm_by(timer_, deadline);
}

// One wheel timer serves all deadlines: it fires at the earliest that was ever asked for, and is
// armed again for what still stands.
void TcpConnection::run_timers(void* self) {
  RefPtr<TcpConnection> connection(static_cast<TcpConnection*>(self));
  for (size_t i = 0; i < kTimers && connection->in_table_; ++i) {
    if (connection->deadlines_[i] > connection->context_.now) continue;
    connection->deadlines_[i] = Instant::never();
    connection->on_timer(static_cast<Timer>(i));
  }
  if (!connection->in_table_) return;
  connection->context_.timers.arm_by(connection->timer_,
                                     *std::ranges::min_element(connection->deadlines_));
}

void TcpConnection::on_timer(Timer timer) {
  switch (timer) {
    case Timer::kRetransmit:
      return on_retransmit_timeout();
    case Timer::kProbe:
      return on_probe();
    case Timer::kReorder:
      if (find_overtaken() && recovery_ == Recovery::kNone &&
          !(kHasMtuSearch && is_only_mtu_probe_lost())) {
        enter_fast_recovery({});
      } else if (recovery_ == Recovery::kFast) {
        spread_reduction({});
      }
      return output();
    case Timer::kPersist:
      return on_persist();
    case Timer::kDelayedAck:
      context_.counters.add(Counter::kTcpExtDelayedACKs);
      return send_ack();
    case Timer::kCork:
      push_partial_ = true;
      return output();
    case Timer::kKeepAlive:
      return on_keep_alive();
    case Timer::kClose:
      // FIN-WAIT-2 without an application, and a peer that does not finish.
      set_state(TcpState::kClosed);
      return leave_table();
  }
}

// [RFC 9293] 3.8.6.1. The probe is, as Linux's, an empty segment just before the window: the peer
// must answer it and cannot take it for data.
void TcpConnection::on_persist() {
  if (flight() != 0 || (queued_.size() == 0 && !(fin_queued_ && !fin_sent_))) return;
  if (send_window_ != 0) {
    // A window too small for a segment, for long enough: use what there is.
    push_partial_ = true;
    output();
    if (flight() != 0) return;
  }
  if (probes_ == 0) first_retransmit_ = context_.now;
  bool timed_out = options_.user_timeout.ns > 0 && probes_ != 0 &&
                   context_.now - first_retransmit_ >= options_.user_timeout;
  // A peer that acknowledges probes may keep its window shut for ever, unless nobody waits for it.
  if (timed_out || probes_ >= (is_orphan() ? 8 : 15)) {
    context_.counters.add(Counter::kTcpExtTCPAbortOnTimeout);
    send_reset();
    return fail_with(Errno::kTimedOut);
  }
  ++probes_;
  context_.counters.add(Counter::kTcpExtTCPWinProbe);
  rtt_.back_off();
  SegmentFields fields;
  fields.sequence = send_unacknowledged_ - 1;
  fields.flags = TcpFlags::kAck;
  fill_common(fields);
  layer_.send(route_, key, fields, {}, 0, 0);
  set_timer(Timer::kPersist, context_.now + rtt_.rto());
}

void TcpConnection::restart_keep_alive() {
  if (options_.keep_alive) {
    set_timer(Timer::kKeepAlive, context_.now + options_.keep_idle);
  } else {
    clear_timer(Timer::kKeepAlive);
  }
}

// [RFC 9293] 3.8.4
void TcpConnection::on_keep_alive() {
  if (!options_.keep_alive) return;
  Instant due = last_received_ + options_.keep_idle;
  if (flight() != 0 || queued_.size() != 0 || (probes_ == 0 && due > context_.now)) {
    // Retransmission watches over data in flight.
    set_timer(Timer::kKeepAlive, std::max(due, context_.now + options_.keep_interval));
    return;
  }
  bool timed_out = options_.user_timeout.ns > 0
                       ? probes_ != 0 && context_.now - last_received_ >= options_.user_timeout
                       : probes_ >= options_.keep_count;
  if (timed_out) {
    context_.counters.add(Counter::kTcpExtTCPAbortOnTimeout);
    send_reset();
    return fail_with(soft_error_ != Errno{} ? soft_error_ : Errno::kTimedOut);
  }
  ++probes_;
  context_.counters.add(Counter::kTcpExtTCPKeepAlive);
  SegmentFields fields;
  fields.sequence = send_next_ - 1;
  fields.flags = TcpFlags::kAck;
  fill_common(fields);
  layer_.send(route_, key, fields, {}, 0, 0);
  set_timer(Timer::kKeepAlive, context_.now + options_.keep_interval);
}

}  // namespace aril::net
