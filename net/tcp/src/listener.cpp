#include "listener.hpp"

#include <algorithm>

namespace aril::net {
namespace {
constexpr unsigned kMaxSynAckRetransmits = 5;  // Linux's tcp_synack_retries
constexpr size_t kMinHalfOpen = 128;
// Where a cookie's timestamp keeps the SYN's options: scale in four bits, 15 for none; SACK; ECN.
constexpr uint32_t kCookieScaleMask = 15, kCookieSack = 16, kCookieEcn = 32, kCookieMask = 63;
constexpr uint8_t kCookieNoScale = 15;
}  // namespace

TcpListener::TcpListener(TcpLayer& layer, TcpSocket& owner)
    : socket(&owner),
      local(owner.bound_),
      options(owner.options_),
      layer_(layer),
      context_(layer.context_) {}

TcpListener::~TcpListener() { ARIL_ASSERT(socket == nullptr); }

void TcpListener::close() {
  socket = nullptr;
  while (HalfOpen* half = half_open_.front()) destroy(*half);
  while (!accepted_.empty()) {
    RefPtr<TcpConnection> connection = std::move(accepted_.front());
    accepted_.pop_front();
    connection->abort();
  }
}

RefPtr<TcpConnection> TcpListener::take() {
  if (accepted_.empty()) return nullptr;
  RefPtr<TcpConnection> connection = std::move(accepted_.front());
  accepted_.pop_front();
  return connection;
}

void TcpListener::destroy(HalfOpen& half) {
  context_.timers.cancel(half.timer);
  layer_.flows_.remove(half);
  half_open_.remove(half);
  --half_open_count_;
  delete &half;
}

// [RFC 9293] 3.10.7.2
void TcpListener::receive(const TcpSegment& segment, const IpPacketInfo& info,
                          uint32_t minimum_sequence) {
  if (segment.is(TcpFlags::kRst)) return context_.counters.drop(DropReason::kTcpNoConnection);
  if (segment.is(TcpFlags::kAck)) return receive_cookie(segment, info);
  if (!segment.is(TcpFlags::kSyn) || segment.is(TcpFlags::kFin))
    return context_.counters.drop(DropReason::kTcpBadSynFlags);
  receive_syn(segment, info, minimum_sequence);
}

SynParameters TcpListener::negotiate(const TcpSegment& segment, const FlowKey& flow) const {
  const TcpSegmentOptions& offered = segment.options;
  SynParameters syn;
  syn.initial_receive = segment.sequence;
  syn.peer_window = segment.window;
  if (offered.max_segment != 0) syn.peer_mss = offered.max_segment;
  syn.sack = offered.sack_permitted;
  syn.ecn = layer_.ecn() != Ecn::kOff && segment.is(TcpFlags::kEce) && segment.is(TcpFlags::kCwr);
  syn.timestamps = offered.timestamps.has_value();
  if (syn.timestamps) syn.recent_timestamp = offered.timestamps->value;
  syn.timestamp_offset = layer_.timestamp_offset(flow);
  if (offered.window_scale) {
    syn.window_scaling = true;
    syn.send_scale = std::min<uint8_t>(*offered.window_scale, 14);
    uint32_t largest = options.receive_buffer != 0 ? options.receive_buffer : 6 * 1024 * 1024;
    while (syn.receive_scale < 14 && largest >> syn.receive_scale > 65535) ++syn.receive_scale;
  }
  return syn;
}

void TcpListener::receive_syn(const TcpSegment& segment, const IpPacketInfo& info,
                              uint32_t minimum_sequence) {
  if (is_accept_queue_full()) {
    context_.counters.add(Counter::kTcpExtListenOverflows);
    context_.counters.add(Counter::kTcpExtListenDrops);
    return context_.counters.drop(DropReason::kTcpListenerFull);
  }
  auto route = layer_.ip_.route(info.source, info.destination, segment.source.scope);
  if (!route) return;
  FlowKey flow{segment.destination, segment.source};
  size_t limit = std::max<size_t>(backlog, kMinHalfOpen);
  if (half_open_count_ >= limit) {
    context_.counters.add(Counter::kTcpExtTCPReqQFullDoCookies);
    return send_cookie(segment, *route, flow);
  }
  std::optional<FastOpenCookie> cookie;
  if (kHasFastOpen && open_early(segment, *route, flow, minimum_sequence, cookie)) return;
  auto* half = new (std::nothrow) HalfOpen(*this, flow);
  if (half == nullptr || !layer_.flows_.insert(*half)) {
    delete half;
    return context_.counters.drop(DropReason::kNoMemory);
  }
  half_open_.push_back(*half);
  ++half_open_count_;
  half->route = *route;
  half->syn = negotiate(segment, flow);
  half->syn.fast_open = cookie;
  half->syn.initial_send = layer_.initial_sequence(flow);
  if (minimum_sequence != 0) half->syn.initial_send = minimum_sequence;
  half->started = context_.now;
  half->deadline = context_.now + RttEstimator::kInitialRto;
  context_.timers.arm_by(half->timer, half->deadline);
  send_syn_ack(*half);
  half->syn.fast_open.reset();  // repeated, it might be what somebody on the path does not like
}

void TcpListener::send_syn_ack(const HalfOpen& half) {
  send_syn_ack(half.route, half.key, half.syn,
               layer_.timestamp_clock() + half.syn.timestamp_offset);
}

void TcpListener::send_syn_ack(const Route& route, const FlowKey& flow, const SynParameters& syn,
                               uint32_t timestamp) {
  SegmentFields fields;
  fields.sequence = syn.initial_send;
  fields.acknowledgment = syn.initial_receive + 1;
  fields.flags = TcpFlags::kSyn | TcpFlags::kAck;
  if (syn.ecn) fields.flags |= TcpFlags::kEce;
  uint32_t buffer = options.receive_buffer != 0 ? options.receive_buffer : 65535;
  fields.window = static_cast<uint16_t>(std::min<uint32_t>(buffer, 65535));
  fields.time_to_live = options.hops_to(flow.remote.address);
  fields.type_of_service = options.class_to(flow.remote.address);
  uint32_t mss = layer_.ip_.path_mtu(route, flow.remote.address) -
                 network_header_size(flow.remote.address) - uint32_t{sizeof(TcpHeader)};
  if (options.max_segment != 0) mss = std::min<uint32_t>(mss, options.max_segment);
  fields.options.max_segment = static_cast<uint16_t>(std::min<uint32_t>(mss, 65535));
  fields.options.sack_permitted = syn.sack;
  if (syn.window_scaling) fields.options.window_scale = syn.receive_scale;
  if (syn.timestamps) fields.options.timestamps = TcpTimestamps{timestamp, syn.recent_timestamp};
  fields.options.fast_open = syn.fast_open;
  layer_.send(route, flow, fields, {}, 0, 0);
}

void HalfOpen::run_timer(void* self) {
  auto& half = *static_cast<HalfOpen*>(self);
  half.listener->on_half_open_timer(half);
}

void TcpListener::on_half_open_timer(HalfOpen& half) {
  if (half.deadline > context_.now) return context_.timers.arm_by(half.timer, half.deadline);
  if (half.deferred) {
    // Linux: when the time for data is over, a last SYN-ACK asks the peer to speak or be accepted.
    half.deferred = false;
    half.defer_is_over = true;
  }
  if (half.retransmits >= kMaxSynAckRetransmits) return destroy(half);
  ++half.retransmits;
  context_.counters.add(Counter::kTcpRetransSegs);
  half.deadline = context_.now + RttEstimator::kInitialRto * (int64_t{1} << half.retransmits);
  context_.timers.arm_by(half.timer, half.deadline);
  send_syn_ack(half);
}

// [RFC 9293] 3.10.7.4 for SYN-RECEIVED that came from LISTEN.
void TcpListener::receive_half_open(HalfOpen& half, const TcpSegment& segment,
                                    const IpPacketInfo& info) {
  (void)info;
  const SynParameters& syn = half.syn;
  uint32_t next = syn.initial_receive + 1;
  if (syn.timestamps && segment.options.timestamps && !segment.is(TcpFlags::kRst) &&
      sequence_before(segment.options.timestamps->value, syn.recent_timestamp)) {
    context_.counters.add(Counter::kTcpExtPAWSActive);
    return context_.counters.drop(DropReason::kTcpPaws);
  }
  if (segment.is(TcpFlags::kSyn) && segment.sequence == syn.initial_receive &&
      !segment.is(TcpFlags::kAck | TcpFlags::kRst)) {
    // Our SYN-ACK was lost; answered at most as often as our own timer would.
    return send_syn_ack(half);
  }
  bool in_window =
      sequence_at_most(next, segment.sequence) && sequence_at_most(segment.sequence, next + 65535);
  if (segment.is(TcpFlags::kRst)) {
    if (segment.sequence != next) return context_.counters.drop(DropReason::kTcpRstOutsideWindow);
    context_.counters.add(Counter::kTcpExtEmbryonicRsts);
    context_.counters.add(Counter::kTcpAttemptFails);
    return destroy(half);
  }
  if (!in_window || segment.is(TcpFlags::kSyn)) {
    context_.counters.drop(DropReason::kTcpOutsideWindow);
    if (layer_.may_challenge()) send_syn_ack(half);
    return;
  }
  if (!segment.is(TcpFlags::kAck)) return context_.counters.drop(DropReason::kTcpBadAck);
  if (segment.acknowledgment != syn.initial_send + 1) {
    context_.counters.drop(DropReason::kTcpBadAck);
    return layer_.send_reset(segment);
  }
  if (options.defer_accept.ns > 0 && segment.length() == 0 && !half.defer_is_over) {
    half.deferred = true;
    half.deadline = half.started + options.defer_accept;
    context_.timers.arm_by(half.timer, half.deadline);
    return context_.counters.drop(DropReason::kTcpDeferAccept);
  }
  if (is_accept_queue_full()) {
    // The peer's data will be sent again, or our SYN-ACK: then there may be room.
    context_.counters.add(Counter::kTcpExtListenOverflows);
    context_.counters.add(Counter::kTcpExtListenDrops);
    return context_.counters.drop(DropReason::kTcpListenerFull);
  }
  FlowKey flow = half.key;
  Route route = half.route;
  SynParameters agreed = half.syn;
  agreed.peer_window = static_cast<uint32_t>(segment.window) << agreed.send_scale;
  // [RFC 6298] 3: not of a SYN-ACK that was sent twice.
  if (half.retransmits == 0 && !half.deferred) agreed.round_trip = context_.now - half.started;
  RefPtr<TcpConnection> connection(establish(flow, route, agreed, &half));
  if (connection) connection->receive(segment);
}

TcpConnection* TcpListener::establish(const FlowKey& flow, const Route& route,
                                      const SynParameters& syn, HalfOpen* half) {
  if (half != nullptr) destroy(*half);
  auto connection = TcpConnection::create(layer_, flow, route, options);
  if (!connection) {
    context_.counters.drop(DropReason::kNoMemory);
    return nullptr;
  }
  TcpConnection* raw = connection->get();
  raw->start_passive(syn);
  if (!accepted_.push_back(std::move(*connection))) {
    context_.counters.drop(DropReason::kNoMemory);
    raw->abort();
    return nullptr;
  }
  if (socket != nullptr) socket->notify(kReadable);
  return raw;
}

void TcpListener::send_cookie(const TcpSegment& segment, const Route& route, const FlowKey& flow) {
  SynParameters syn = negotiate(segment, flow);
  syn.initial_send =
      syn_cookie::make(context_.key, flow, segment.sequence, syn.peer_mss, context_.now);
  // Without timestamps there is nowhere to keep scaling and SACK [RFC 4987] 3.6.
  if (!syn.timestamps) syn.sack = syn.window_scaling = syn.ecn = false;
  uint32_t kept = syn.window_scaling ? syn.send_scale : kCookieNoScale;
  if (syn.sack) kept |= kCookieSack;
  if (syn.ecn) kept |= kCookieEcn;
  uint32_t clock = layer_.timestamp_clock() + syn.timestamp_offset;
  uint32_t stamp = (clock & ~kCookieMask) | kept;
  // Never of the future: what the connection sends next would be older, and dropped [RFC 7323] 5.
  if (sequence_after(stamp, clock)) stamp -= kCookieMask + 1;
  context_.counters.add(Counter::kTcpExtSyncookiesSent);
  send_syn_ack(route, flow, syn, stamp);
}

void TcpListener::receive_cookie(const TcpSegment& segment, const IpPacketInfo& info) {
  FlowKey flow{segment.destination, segment.source};
  SynParameters syn;
  syn.initial_send = segment.acknowledgment - 1;
  syn.initial_receive = segment.sequence - 1;
  syn.peer_mss =
      syn_cookie::check(context_.key, flow, syn.initial_receive, syn.initial_send, context_.now);
  if (syn.peer_mss == 0 || segment.is(TcpFlags::kSyn)) {
    // [RFC 9293] 3.10.7.2, second: an ACK that belongs to nothing.
    context_.counters.add(Counter::kTcpExtSyncookiesFailed);
    context_.counters.drop(DropReason::kTcpNoConnection);
    return layer_.send_reset(segment);
  }
  if (is_accept_queue_full()) {
    context_.counters.add(Counter::kTcpExtListenOverflows);
    return context_.counters.drop(DropReason::kTcpListenerFull);
  }
  auto route = layer_.ip_.route(info.source, info.destination, segment.source.scope);
  if (!route) return;
  syn.timestamp_offset = layer_.timestamp_offset(flow);
  if (const auto& timestamps = segment.options.timestamps) {
    syn.timestamps = true;
    syn.recent_timestamp = timestamps->value;
    uint32_t kept = timestamps->echo & kCookieMask;
    syn.sack = (kept & kCookieSack) != 0;
    syn.ecn = (kept & kCookieEcn) != 0;
    if ((kept & kCookieScaleMask) != kCookieNoScale) {
      syn.window_scaling = true;
      syn.send_scale = static_cast<uint8_t>(kept & kCookieScaleMask);
      uint32_t largest = options.receive_buffer != 0 ? options.receive_buffer : 6 * 1024 * 1024;
      while (syn.receive_scale < 14 && largest >> syn.receive_scale > 65535) ++syn.receive_scale;
    }
  }
  syn.peer_window = static_cast<uint32_t>(segment.window) << syn.send_scale;
  context_.counters.add(Counter::kTcpExtSyncookiesRecv);
  RefPtr<TcpConnection> connection(establish(flow, *route, syn, nullptr));
  if (connection) connection->receive(segment);
}

}  // namespace aril::net
