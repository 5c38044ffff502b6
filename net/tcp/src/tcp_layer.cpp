#include "net/tcp/tcp_layer.hpp"

#include <algorithm>
#include <cstring>

#include "connection.hpp"
#include "listener.hpp"
#include "net/ip/binding.hpp"
#include "net/wire/checksum.hpp"

namespace aril::net {
namespace {
constexpr uint32_t kChallengesPerSecond = 1000;  // Linux's tcp_challenge_ack_limit
constexpr size_t kMinTimeWait = 1024, kMaxTimeWait = 32768;
}  // namespace

TcpLayer::TcpLayer(IpLayer& ip)
    : ip_(ip),
      context_(ip.context()),
      flows_(context_.key),
      ports_(context_),
      max_time_wait_(
          std::clamp(context_.memory.limit() / 32 / sizeof(TimeWait), kMinTimeWait, kMaxTimeWait)),
      time_wait_timer_([](void* self) { static_cast<TcpLayer*>(self)->on_time_wait_timer(); },
                       this),
      fast_open_{.keys = {.primary = {context_.random(), context_.random()}}},
      challenge_window_(context_.now) {}

TcpLayer::~TcpLayer() {
  context_.timers.cancel(time_wait_timer_);
  while (TimeWait* record = time_waits_.front()) remove_time_wait(*record);
  flows_.for_each([](Flow& flow) {
    if (flow.kind == Flow::Kind::kConnection) static_cast<TcpConnection&>(flow).close();
  });
  flows_.for_each([](Flow& flow) {
    if (flow.kind == Flow::Kind::kConnection) static_cast<TcpConnection&>(flow).abort();
  });
}

Result<RefPtr<TcpSocket>> TcpLayer::create_socket(IpAddress any) {
  return try_make_ref<TcpSocket>(*this, any);
}

void TcpLayer::send(const Route& route, const FlowKey& flow, const SegmentFields& fields,
                    std::span<const TxPiece> payload, uint32_t payload_length,
                    uint16_t segment_size) {
  HeaderBuffer buffer;
  auto out = buffer.transport();
  size_t options = fields.options.write(out.subspan<sizeof(TcpHeader)>());
  size_t header_length = sizeof(TcpHeader) + options;
  TcpHeader header{.source_port = flow.local.port,
                   .destination_port = flow.remote.port,
                   .sequence = fields.sequence,
                   .acknowledgment = fields.acknowledgment,
                   .data_offset = static_cast<uint8_t>(header_length / 4 << 4),
                   .flags = fields.flags,
                   .window = fields.window};
  Checksum sum;
  sum.add_pseudo_header(flow.local.address, flow.remote.address,
                        static_cast<uint8_t>(IpProtocol::kTcp),
                        static_cast<uint32_t>(header_length + payload_length));
  TransportOutput output{.header = buffer,
                         .header_length = header_length,
                         .payload = payload,
                         .payload_length = payload_length,
                         .segment_size = segment_size};
  if (has(route.interface->features(), LinkFeatures::kChecksum)) {
    header.checksum = sum.partial();
    output.checksum_offset = offsetof(TcpHeader, checksum);
    std::memcpy(out.data(), &header, sizeof header);
  } else {
    std::memcpy(out.data(), &header, sizeof header);
    sum.add(out.first(header_length));
    for (const TxPiece& piece : payload) sum.add({piece.data, piece.length});
    header.checksum = sum.finish();
    std::memcpy(out.data(), &header, sizeof header);
  }
  context_.counters.add(Counter::kTcpOutSegs);
  IpFields ip{
      .source = flow.local.address,
      .destination = flow.remote.address,
      .protocol = IpProtocol::kTcp,
      .time_to_live = fields.time_to_live != 0 ? fields.time_to_live : route.interface->hop_limit(),
      .type_of_service = fields.type_of_service,
      .dont_fragment = true,
      .tries_path = true};
  // What cannot be sent now is as good as lost, and TCP's own business to send again.
  (void)ip_.send(route, ip, output);
}

void TcpLayer::send_reset(const TcpSegment& cause) {
  if (cause.is(TcpFlags::kRst)) return;
  auto route = ip_.route(cause.source.address, cause.destination.address, cause.source.scope);
  if (!route) return;
  SegmentFields fields;
  fields.flags = TcpFlags::kRst;
  if (cause.is(TcpFlags::kAck)) {
    fields.sequence = cause.acknowledgment;
  } else {
    fields.flags |= TcpFlags::kAck;
    fields.acknowledgment = cause.end();
  }
  context_.counters.add(Counter::kTcpOutRsts);
  send(*route, {cause.destination, cause.source}, fields, {}, 0, 0);
}

bool TcpLayer::may_challenge() {
  if (context_.now - challenge_window_ >= Duration::seconds(1)) {
    challenge_window_ = context_.now;
    // A varying limit: an outsider must not count by our silence [RFC 9293] 3.10.7.4's side
    // channel.
    challenge_budget_ =
        kChallengesPerSecond / 2 + static_cast<uint32_t>(context_.random() % kChallengesPerSecond);
  }
  if (challenge_budget_ == 0) return false;
  --challenge_budget_;
  return true;
}

// [RFC 6528]: a clock plus a keyed hash of the endpoints. The clock ticks every 64 ns, as Linux's.
uint32_t TcpLayer::initial_sequence(const FlowKey& flow) {
  uint64_t hash = siphash(context_.key, {flow.local.address.low(), flow.remote.address.low(),
                                         uint64_t{flow.local.port} << 16 | flow.remote.port,
                                         flow.local.address.high() ^ flow.remote.address.high()});
  return static_cast<uint32_t>(hash ^ hash >> 32) + static_cast<uint32_t>(context_.now.ns >> 6);
}

uint32_t TcpLayer::timestamp_offset(const FlowKey& flow) const {
  return static_cast<uint32_t>(
      siphash(context_.key, {0x74696d65, flow.local.address.low(), flow.remote.address.low(),
                             flow.local.address.high() ^ flow.remote.address.high()}));
}

bool TcpLayer::is_pair_free(const FlowKey& flow) {
  Flow* existing = flows_.find(flow);
  if (existing == nullptr) return true;
  if (existing->kind != Flow::Kind::kTimeWait) return false;
  // [RFC 6191]: timestamps keep old and new apart once the clock has moved on.
  auto& record = static_cast<TimeWait&>(*existing);
  bool aged = record.expiry - context_.now <= Duration::seconds(58);
  if (!record.timestamps || !aged) return false;
  context_.counters.add(Counter::kTcpExtTWRecycled);
  remove_time_wait(record);
  return true;
}

Result<uint16_t> TcpLayer::pick_connect_port(const Endpoint& remote, Endpoint local) {
  // [RFC 6056] 3.3.1: from a random start.
  auto start = static_cast<uint32_t>(context_.random() % PortTable::kEphemeralCount);
  for (bool reuse_time_wait : {false, true}) {
    for (uint32_t i = 0; i < PortTable::kEphemeralCount; ++i) {
      auto port = static_cast<uint16_t>(PortTable::kFirstEphemeral +
                                        (start + i) % PortTable::kEphemeralCount);
      local.port = port;
      FlowKey flow{local, remote};
      bool free = reuse_time_wait ? is_pair_free(flow) : flows_.find(flow) == nullptr;
      if (free && ports_.is_free_for_connect(port)) return port;
    }
  }
  return fail(Errno::kAddrNotAvail);
}

void TcpLayer::receive(const IpPacketInfo& info, std::span<const std::byte> bytes) {
  context_.counters.add(Counter::kTcpInSegs);
  auto segment = TcpSegment::parse(bytes, info.source, info.destination, info.checksum);
  if (!segment) {
    context_.counters.add(Counter::kTcpInErrs);
    bool checksum = segment.error() == TcpError::kChecksum;
    if (checksum) context_.counters.add(Counter::kTcpInCsumErrors);
    return context_.counters.drop(checksum ? DropReason::kBadTcpChecksum : DropReason::kBadTcp);
  }
  // [RFC 9293] 3.9.2.3 (MUST-57): TCP is between two hosts.
  if (info.is_broadcast || info.source.is_unspecified())
    return context_.counters.drop(DropReason::kTcpBroadcast);
  segment->congestion_experienced = (info.type_of_service & 3) == 3;
  segment->source.scope = info.interface->scope_of(info.source);
  segment->destination.scope = info.interface->scope_of(info.destination);
  Flow* flow = flows_.find({segment->destination, segment->source});
  if (flow == nullptr) return receive_for_listener(*segment, info, 0);
  switch (flow->kind) {
    case Flow::Kind::kConnection:
      return static_cast<TcpConnection*>(flow)->receive(*segment);
    case Flow::Kind::kHalfOpen: {
      auto& half = *static_cast<HalfOpen*>(flow);
      RefPtr<TcpListener> listener(half.listener);
      return listener->receive_half_open(half, *segment, info);
    }
    case Flow::Kind::kTimeWait:
      return receive_time_wait(static_cast<TimeWait&>(*flow), *segment, info);
  }
}

void TcpLayer::receive_for_listener(const TcpSegment& segment, const IpPacketInfo& info,
                                    uint32_t minimum_sequence) {
  if (TcpListener* found = find_listener(segment, info.interface->index())) {
    RefPtr<TcpListener> listener(found);
    return listener->receive(segment, info, minimum_sequence);
  }
  context_.counters.drop(DropReason::kTcpNoConnection);
  send_reset(segment);
}

TcpListener* TcpLayer::find_listener(const TcpSegment& segment, uint32_t interface) {
  TcpPort* port = ports_.find(segment.destination.port);
  if (port == nullptr) return nullptr;
  TcpListener* best = nullptr;
  int best_score = -1;
  uint32_t equals = 0;
  uint64_t hash = 0;
  for (TcpListener* listener = port->listeners_; listener != nullptr;
       listener = listener->next_on_port) {
    int score = 0;
    Binding binding{listener->local.address, listener->options.v6_only};
    if (!binding.covers(segment.destination.address)) continue;
    if (!binding.address.is_unspecified()) {
      if (listener->local.scope != segment.destination.scope) continue;
      score += 2;
    }
    if (listener->options.interface != 0) {
      if (listener->options.interface != interface) continue;
      score += 1;
    }
    if (score > best_score) {
      best = listener;
      best_score = score;
      equals = 1;
    } else if (score == best_score) {
      // SO_REUSEPORT: the flow chooses among equals, always the same.
      if (equals == 1) hash = flows_.hash({segment.destination, segment.source}) >> 8;
      if (hash % ++equals == 0) best = listener;
    }
  }
  return best;
}

void TcpLayer::receive_error(const IpError& error, std::span<const std::byte> quoted) {
  if (quoted.size() < 8) return;
  struct {
    Be<uint16_t> source_port, destination_port;
    Be<uint32_t> sequence;
  } header;
  std::memcpy(&header, quoted.data(), sizeof header);
  Flow* flow = flows_.find(
      {{error.source, header.source_port, error.source.needs_scope() ? error.scope : uint16_t{0}},
       {error.destination, header.destination_port, error.scope}});
  if (flow == nullptr || flow->kind != Flow::Kind::kConnection)
    return context_.counters.drop(DropReason::kIcmpErrorIrrelevant);
  static_cast<TcpConnection*>(flow)->receive_error(error, header.sequence);
}

}  // namespace aril::net
