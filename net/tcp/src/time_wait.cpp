#include "net/tcp/tcp_layer.hpp"

namespace aril::net {
namespace {
constexpr Duration kTimeWaitTime = Duration::seconds(60);  // Linux's TCP_TIMEWAIT_LEN
}

void TcpLayer::enter_time_wait(TimeWait* record) {
  // The oldest makes room: new connections matter more than a stray segment of an old one.
  if (time_wait_count_ >= max_time_wait_) {
    context_.counters.add(Counter::kTcpExtTCPTimeWaitOverflow);
    remove_time_wait(*time_waits_.front());
  }
  auto port = ports_.add_flow(record->key.local.port, record->sharing);
  if (!port || !flows_.insert(*record)) {
    if (port) ports_.remove_flow(**port, record->sharing);
    delete record;
    return;
  }
  record->port = *port;
  record->expiry = context_.now + kTimeWaitTime;
  time_waits_.push_back(*record);
  ++time_wait_count_;
  context_.counters.add(Counter::kTcpExtTW);
  context_.timers.arm_by(time_wait_timer_, time_waits_.front()->expiry);
}

void TcpLayer::remove_time_wait(TimeWait& record) {
  flows_.remove(record);
  ports_.remove_flow(*record.port, record.sharing);
  time_waits_.remove(record);
  --time_wait_count_;
  delete &record;
}

void TcpLayer::on_time_wait_timer() {
  while (TimeWait* record = time_waits_.front()) {
    if (record->expiry > context_.now) {
      context_.timers.arm_by(time_wait_timer_, record->expiry);
      return;
    }
    remove_time_wait(*record);
  }
}

// [RFC 9293] 3.10.7.4 for TIME-WAIT.
void TcpLayer::receive_time_wait(TimeWait& record, const TcpSegment& segment,
                                 const IpPacketInfo& info) {
  // [RFC 1337] 3: a reset must not end it early.
  if (segment.is(TcpFlags::kRst)) return context_.counters.drop(DropReason::kTcpTimeWait);
  bool has_timestamps = record.timestamps && segment.options.timestamps.has_value();
  bool newer_timestamp =
      has_timestamps && sequence_before(record.recent_timestamp, segment.options.timestamps->value);
  bool is_syn = segment.is(TcpFlags::kSyn) && !segment.is(TcpFlags::kAck);
  // [RFC 6191] 2, [RFC 9293] MAY-2: a new connection that cannot be confused with the old one.
  if (is_syn && (newer_timestamp || sequence_after(segment.sequence, record.receive_next))) {
    uint32_t sequence = record.send_next + 65535 + 2;
    if (sequence == 0) sequence = 1;
    remove_time_wait(record);
    context_.counters.add(Counter::kTcpExtTWRecycled);
    return receive_for_listener(segment, info, sequence);
  }
  context_.counters.drop(DropReason::kTcpTimeWait);
  // A repeated FIN means that our last acknowledgment was lost, and starts the wait anew.
  if (segment.is(TcpFlags::kFin) && segment.end() == record.receive_next) {
    record.expiry = context_.now + kTimeWaitTime;
    time_waits_.remove(record);
    time_waits_.push_back(record);
  }
  if (segment.length() == 0 && segment.sequence == record.receive_next) return;
  if (!may_challenge()) return;
  auto route =
      ip_.route(record.key.remote.address, record.key.local.address, record.key.remote.scope);
  if (!route) return;
  SegmentFields fields;
  fields.sequence = record.send_next;
  fields.acknowledgment = record.receive_next;
  fields.flags = TcpFlags::kAck;
  if (record.timestamps)
    fields.options.timestamps =
        TcpTimestamps{timestamp_clock() + record.timestamp_offset, record.recent_timestamp};
  send(*route, record.key, fields, {}, 0, 0);
}

}  // namespace aril::net
