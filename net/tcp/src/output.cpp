#include <algorithm>
#include <utility>

#include "connection.hpp"
#include "listener.hpp"

namespace aril::net {
namespace {
constexpr Duration kCorkTime = Duration::milliseconds(200);  // [tcp(7)] TCP_CORK
constexpr size_t kMaxPieces = 18;
// What one segment handed to a segmenting link may carry: a multiple of it is cut off.
constexpr uint32_t kMaxSuperSegment = 65535 - sizeof(Ipv6Header) - kMaxTcpHeader;
constexpr size_t kMaxSackWithTimestamps = 3;
constexpr uint8_t kEctZero = 2, kEcnMask = 3;  // [RFC 3168] 5
}  // namespace

void TcpConnection::output() {
  bool can_send_data = state_ != TcpState::kSynSent &&
                       (state_ != TcpState::kSynReceived || early_) &&
                       state_ != TcpState::kClosed && in_table_;
  if (can_send_data) {
    if (path_mtu_changes_ != layer_.ip_.path_mtu_changes()) follow_path_mtu();
    if (log_.lost_bytes() != 0) retransmit_lost();
    if (kHasMtuSearch && mtu_search_.high != 0) probe_mtu();
    // After most of what arrives there is none.
    if (send_next_ != queued_.end() || fin_queued_) send_new_data();
    if (send_next_ == queued_.end()) push_partial_ = false;
  }
  if (ack_now_ && in_table_) send_ack();
}

void TcpConnection::send_new_data() {
  if (flight() == 0 && context_.now - last_sent_ > rtt_.rto()) congestion_.on_idle(mss_);
  bool segments = has(route_.interface->features(),
                      key.remote.address.is_v4() ? LinkFeatures::kTso : LinkFeatures::kTso6);
  bool blocked_by_window = false;
  while (!fin_sent_) {
    uint32_t unsent = queued_.end() - send_next_;
    if (unsent == 0 && !fin_queued_) break;
    uint32_t window_end = send_unacknowledged_ + send_window_;
    uint32_t window = sequence_after(window_end, send_next_) ? window_end - send_next_ : 0;
    if (unsent == 0) {
      if (window == 0) {
        blocked_by_window = true;
        break;
      }
      send_control(send_next_, TcpFlags::kFin | TcpFlags::kAck);
      fin_sent_ = true;
      log_.sent(send_next_, send_next_ + 1, context_.now);
      ++send_next_;
      if (!is_set(Timer::kRetransmit)) arm_loss_timers();
      break;
    }
    uint32_t in_network = pipe(), allowed = sending_window();
    uint32_t room = allowed > in_network ? allowed - in_network : 0;
    uint32_t length = std::min({unsent, window, room});
    // The device would put CWR on every segment that it cuts [RFC 3168] 6.1.2.
    if (!segments || announce_reduction_) length = std::min(length, mss_);
    blocked_by_window = window < unsent && window < mss_;
    uint32_t rest = length;
    if (length >= mss_) {
      length = std::min(length, kMaxSuperSegment - kMaxSuperSegment % mss_);
      rest = length % mss_;
    }
    if (rest != 0 && !may_send_partial(length, unsent)) length -= rest;
    if (length == 0) break;
    bool last = length == unsent;
    TcpFlags flags = last ? TcpFlags::kPsh : TcpFlags::kNone;
    if (last && fin_queued_ && window > length) flags |= TcpFlags::kFin;
    uint32_t sent = transmit(send_next_, length, flags);
    if (sent == 0) break;
  }
  // [RFC 9293] 3.8.6.1: nothing in flight will bring news of the window, so ask for it.
  if (blocked_by_window && flight() == 0 && !is_set(Timer::kPersist)) {
    context_.counters.add(Counter::kTcpExtTCPFromZeroWindowAdv);
    set_timer(Timer::kPersist, context_.now + rtt_.rto());
  }
}

// Whether `length` bytes that are not whole segments may go now. [RFC 9293] 3.7.4 (Nagle, with
// Minshall's change: only an unacknowledged small segment holds the next back) and 3.8.6.2.1.
bool TcpConnection::may_send_partial(uint32_t length, uint32_t unsent) {
  // A window that cuts a segment will grow: only what ends the queue is pushed, or what a window
  // that stays small takes.
  if (length < unsent) {
    bool is_all_there_is = push_partial_ && flight() == 0;
    return length < mss_ && (is_all_there_is || uint64_t{length} * 2 >= largest_send_window_);
  }
  if (push_partial_ || fin_queued_) return true;
  if (options_.cork || more_coming_) {
    if (!is_set(Timer::kCork)) set_timer(Timer::kCork, context_.now + kCorkTime);
    return false;
  }
  if (options_.no_delay || flight() == 0) return true;
  return sequence_at_most(last_small_end_, send_unacknowledged_);
}

uint32_t TcpConnection::transmit(uint32_t sequence, uint32_t length, TcpFlags flags) {
  std::array<TxPiece, kMaxPieces> pieces;
  uint32_t wanted = length;
  size_t count = queued_.gather(sequence, length, pieces);
  if (count == 0) return 0;
  if (length < wanted) {
    flags = flags & ~(TcpFlags::kFin | TcpFlags::kPsh);
    if (length > mss_) {
      // Ran out of pieces: keep to whole segments.
      uint32_t excess = length % mss_;
      length -= excess;
      while (excess >= pieces[count - 1].length) excess -= pieces[--count].length;
      pieces[count - 1].length -= excess;
    }
  }
  SegmentFields fields;
  fields.sequence = sequence;
  fields.flags = flags | TcpFlags::kAck;
  fill_common(fields);
  bool is_new = sequence == send_next_;
  if (ecn_ && is_new) {
    // [RFC 3168] 6.1.5: never a segment that was sent before.
    fields.type_of_service |= kEctZero;
    if (std::exchange(announce_reduction_, false)) fields.flags |= TcpFlags::kCwr;
  }
  auto segment_size = static_cast<uint16_t>(length > mss_ ? mss_ : 0);
  uint32_t segments = length <= mss_ ? 1 : (length + mss_ - 1) / mss_;
  segments_out_ += segments;
  data_segments_out_ += segments;
  bytes_sent_ += length;
  layer_.send(route_, key, fields, {pieces.data(), count}, length, segment_size);
  note_ack_sent();
  last_sent_ = context_.now;
  if (is_new) {
    context_.counters.add(Counter::kTcpExtTCPOrigDataSent, segments);
    send_next_ += length;
    if (length < mss_ || length % mss_ != 0) last_small_end_ = send_next_;
    if (!timing_) {
      timing_ = true;
      timed_sequence_ = send_next_;
      timed_start_ = context_.now;
    }
    if (has(flags, TcpFlags::kFin)) {
      fin_sent_ = true;
      ++send_next_;
    }
    log_.sent(sequence, send_next_, context_.now);
    if (recovery_ != Recovery::kNone) recovery_sent_ += length;
    if (!is_set(Timer::kRetransmit)) set_timer(Timer::kRetransmit, context_.now + rtt_.rto());
    arm_probe();
  }
  return length;
}

void TcpConnection::fill_common(SegmentFields& fields) {
  fields.acknowledgment = received_.next() + (fin_received_ ? 1 : 0);
  fields.window = choose_window();
  fields.time_to_live = options_.hops_to(key.remote.address);
  fields.type_of_service = options_.class_to(key.remote.address) & ~kEcnMask;
  if (echo_congestion_) fields.flags |= TcpFlags::kEce;
  if (timestamps_) fields.options.timestamps = TcpTimestamps{timestamp_now(), recent_timestamp_};
}

// [RFC 9293] 3.8.6.2.2: the right edge never moves back, and moves on in steps worth having.
uint32_t TcpConnection::desired_right_edge() const {
  size_t held = received_.readable();
  uint32_t room = receive_buffer_ > held ? static_cast<uint32_t>(receive_buffer_ - held) : 0;
  if (context_.memory.is_exhausted()) room = 0;
  uint32_t edge = received_.next() + room;
  if (!sequence_after(edge, right_edge_)) return right_edge_;
  if (edge - right_edge_ < std::min(receive_buffer_ / 2, mss_) &&
      sequence_after(right_edge_, received_.next()))
    return right_edge_;
  return edge;
}

uint16_t TcpConnection::choose_window() {
  uint32_t next = received_.next() + (fin_received_ ? 1 : 0);
  uint32_t edge = desired_right_edge();
  uint32_t window = sequence_after(edge, next) ? edge - next : 0;
  auto field = static_cast<uint16_t>(std::min<uint32_t>(window >> receive_scale_, 65535));
  // Scaling rounds down; what was promised before is still accepted [RFC 7323] 2.4.
  right_edge_ = sequence_max(right_edge_, next + (uint32_t{field} << receive_scale_));
  return field;
}

void TcpConnection::note_ack_sent() {
  last_ack_sent_ = received_.next() + (fin_received_ ? 1 : 0);
  unacked_bytes_ = 0;
  ack_now_ = false;
  clear_timer(Timer::kDelayedAck);
}

void TcpConnection::send_ack() {
  if (!in_table_) return;
  SegmentFields fields;
  fields.sequence = send_next_;
  fields.flags = TcpFlags::kAck;
  fill_common(fields);
  if (sack_) add_sack_blocks(fields.options);
  ++segments_out_;
  layer_.send(route_, key, fields, {}, 0, 0);
  note_ack_sent();
}

void TcpConnection::add_sack_blocks(TcpSegmentOptions& options) {
  std::span<SackBlock> room(options.sack);
  if (timestamps_) room = room.first(kMaxSackWithTimestamps);
  size_t count = 0;
  // [RFC 2883] 4: the first block tells what came twice.
  if (SackBlock duplicate = std::exchange(duplicate_report_, {});
      duplicate.start != duplicate.end) {
    context_.counters.add(Counter::kTcpExtTCPDSACKOldSent);
    room[count++] = duplicate;
  }
  if (received_.has_gaps()) count += received_.sack_blocks(room.subspan(count));
  options.sack_count = static_cast<uint8_t>(count);
}

void TcpConnection::send_control(uint32_t sequence, TcpFlags flags) {
  SegmentFields fields;
  fields.sequence = sequence;
  fields.flags = flags;
  fill_common(fields);
  if (has(flags, TcpFlags::kSyn)) {
    fields.window = static_cast<uint16_t>(std::min<uint32_t>(receive_buffer_, 65535));
    fields.options.max_segment =
        static_cast<uint16_t>(std::min<uint32_t>(path_mtu_ - header_size(), 65535));
    fields.options.sack_permitted = sack_;
    if (send_scale_ != 0 || receive_scale_ != 0) fields.options.window_scale = receive_scale_;
    if (ecn_) fields.flags |= TcpFlags::kEce;
    if (kHasFastOpen && renew_cookie_ && early_listener_)
      fields.options.fast_open = early_listener_->fast_open_keys().cookie(key);
  }
  ++segments_out_;
  last_sent_ = context_.now;
  layer_.send(route_, key, fields, {}, 0, 0);
  note_ack_sent();
}

void TcpConnection::send_syn() {
  SegmentFields fields;
  fields.sequence = initial_send_;
  fields.flags = TcpFlags::kSyn;
  // [RFC 3168] 6.1.1.1: a path that swallows the offer gets a plain SYN when it is repeated.
  if (layer_.ecn() == Ecn::kRequest && retransmits_ == 0)
    fields.flags |= TcpFlags::kEce | TcpFlags::kCwr;
  fields.time_to_live = options_.hops_to(key.remote.address);
  fields.type_of_service = options_.class_to(key.remote.address) & ~kEcnMask;
  fields.window = static_cast<uint16_t>(std::min<uint32_t>(receive_buffer_, 65535));
  uint32_t mss = path_mtu_ - header_size();
  if (options_.max_segment != 0) mss = std::min<uint32_t>(mss, options_.max_segment);
  fields.options.max_segment = static_cast<uint16_t>(std::min<uint32_t>(mss, 65535));
  fields.options.window_scale = receive_scale_;
  fields.options.sack_permitted = true;
  fields.options.timestamps = TcpTimestamps{timestamp_now(), 0};
  std::array<TxPiece, kMaxPieces> pieces;
  bool fills = kHasFastOpen && asks_fast_open_ && retransmits_ == 0;
  size_t count = fills ? fill_syn(fields, pieces) : 0;
  ++segments_out_;
  last_sent_ = context_.now;
  layer_.send(route_, key, fields, std::span(pieces).first(count), count != 0 ? syn_data_ : 0, 0);
}

void TcpConnection::send_reset() {
  SegmentFields fields;
  fields.sequence = send_next_;
  fields.flags = TcpFlags::kRst | TcpFlags::kAck;
  fill_common(fields);
  context_.counters.add(Counter::kTcpOutRsts);
  layer_.send(route_, key, fields, {}, 0, 0);
}

}  // namespace aril::net
