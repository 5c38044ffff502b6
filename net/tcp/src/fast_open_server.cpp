#include <algorithm>

#include "connection.hpp"
#include "listener.hpp"

namespace aril::net {
namespace {
// How long a connection that was opened early and reset counts as pending, as with Linux: whoever
// owns a forged address answers with a reset, which must not free the place for the next.
constexpr Duration kResetTime = Duration::seconds(60);
}  // namespace

const FastOpenKeys& TcpListener::fast_open_keys() const {
  return socket != nullptr ? socket->fast_open_keys() : layer_.fast_open_.keys;
}

void TcpListener::note_early_reset() {
  // Without memory the place is free at once.
  (void)early_resets_.push_back(context_.now + kResetTime);
}

bool TcpListener::has_early_room() {
  size_t limit = options.fast_open_queue;
  if (limit == 0 && has(layer_.fast_open_.mode, FastOpenMode::kEveryListener)) limit = backlog;
  while (!early_resets_.empty() && early_resets_.front() <= context_.now) early_resets_.pop_front();
  if (limit == 0) return false;
  if (early_count_ + early_resets_.size() < limit) return true;
  context_.counters.add(Counter::kTcpExtTCPFastOpenListenOverflow);
  return false;
}

// [RFC 7413] 4.2.2; counted as Linux does.
bool TcpListener::open_early(const TcpSegment& segment, const Route& route, const FlowKey& flow,
                             uint32_t minimum_sequence, std::optional<FastOpenCookie>& answer) {
  const FastOpen& fast_open = layer_.fast_open_;
  const auto& offered = segment.options.fast_open;
  if (!offered && segment.payload.empty()) return false;
  if (offered && offered->length == 0) context_.counters.add(Counter::kTcpExtTCPFastOpenCookieReqd);
  if (!has(fast_open.mode, FastOpenMode::kServer) || !has_early_room()) return false;
  if (options.fast_open_without_cookie || has(fast_open.mode, FastOpenMode::kServerWithoutCookie))
    return establish_early(segment, route, flow, minimum_sequence, false);
  if (!offered) return false;
  const FastOpenKeys& keys = fast_open_keys();
  answer = keys.cookie(flow);
  if (offered->length == 0) return false;
  FastOpenKeys::Match match = keys.match(*offered, flow);
  if (match == FastOpenKeys::Match::kNone) {
    context_.counters.add(Counter::kTcpExtTCPFastOpenPassiveFail);
    return false;
  }
  bool renew = match == FastOpenKeys::Match::kBackup;
  if (!establish_early(segment, route, flow, minimum_sequence, renew)) return false;
  if (renew) context_.counters.add(Counter::kTcpExtTCPFastOpenPassiveAltKey);
  return true;
}

bool TcpListener::establish_early(const TcpSegment& segment, const Route& route,
                                  const FlowKey& flow, uint32_t minimum_sequence,
                                  bool renew_cookie) {
  auto created = TcpConnection::create(layer_, flow, route, options);
  if (!created) {
    context_.counters.add(Counter::kTcpExtTCPFastOpenPassiveFail);
    return false;
  }
  RefPtr<TcpConnection> connection = *created;
  SynParameters syn = negotiate(segment, flow);
  syn.initial_send = minimum_sequence != 0 ? minimum_sequence : layer_.initial_sequence(flow);
  if (!accepted_.push_back(std::move(*created))) {
    context_.counters.add(Counter::kTcpExtTCPFastOpenPassiveFail);
    connection->abandon();
    return false;
  }
  ++early_count_;
  context_.counters.add(Counter::kTcpExtTCPFastOpenPassive);
  connection->start_early(syn, segment, *this, renew_cookie);
  if (socket != nullptr) socket->notify(kReadable);
  return true;
}

void TcpConnection::start_early(const SynParameters& syn, const TcpSegment& segment,
                                TcpListener& listener, bool renew_cookie) {
  adopt(syn);
  early_ = true;
  early_listener_ = RefPtr<TcpListener>(&listener);
  renew_cookie_ = renew_cookie;
  send_unacknowledged_ = initial_send_;
  last_small_end_ = initial_send_;  // so that the handshake does not hold the answer back
  ++segments_in_;
  if (!segment.payload.empty()) {
    // What there is no room for is not acknowledged, and comes again.
    if (received_.add(initial_receive_ + 1, segment.payload) == ReceiveQueue::Added::kInOrder) {
      syn_data_acked_ = true;
      ++data_segments_in_;
      bytes_received_ += received_.readable();
    }
  }
  right_edge_ = received_.next() + std::min<uint32_t>(receive_buffer_, 65535);
  set_state(TcpState::kSynReceived);
  compute_mss();
  congestion_.start(mss_);
  handshake_start_ = context_.now;
  send_control(initial_send_, TcpFlags::kSyn | TcpFlags::kAck);
  set_timer(Timer::kRetransmit, context_.now + rtt_.rto());
}

void TcpConnection::leave_early() {
  if (!early_listener_) return;
  early_listener_->note_early_end();
  early_listener_.reset();
}

void TcpConnection::abandon() {
  set_state(TcpState::kClosed);
  leave_table();
}

}  // namespace aril::net
