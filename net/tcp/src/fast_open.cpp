#include "net/tcp/fast_open.hpp"

#include <algorithm>
#include <cstring>
#include <new>

#include "connection.hpp"
#include "listener.hpp"

namespace aril::net {
namespace {

constexpr size_t kCookieBytes = 8;  // as Linux's
constexpr uint8_t kToleratedLosses = 1;
constexpr Duration kLossPause = Duration::seconds(60);
constexpr unsigned kMaxLossShift = 6;
constexpr uint32_t kSynOptionSpace = kMaxTcpHeader - sizeof(TcpHeader);

/// Linux's enum tcp_fastopen_client_fail.
enum Failure : uint8_t { kNoCookie = 1, kDataNotAcked = 2, kSynRetransmitted = 3 };

FastOpenCookie make_cookie(const SipKey& key, const FlowKey& flow) {
  uint64_t tag = siphash(key, {flow.local.address.high(), flow.local.address.low(),
                               flow.remote.address.high(), flow.remote.address.low()});
  FastOpenCookie cookie{.length = kCookieBytes};
  std::memcpy(cookie.bytes.data(), &tag, sizeof tag);
  return cookie;
}

}  // namespace

Result<FastOpenKeys> FastOpenKeys::parse(std::span<const std::byte> bytes) {
  if (bytes.size() != kKeyBytes && bytes.size() != kMaxBytes) return fail(Errno::kInval);
  FastOpenKeys keys;
  std::memcpy(&keys.primary, bytes.data(), kKeyBytes);
  keys.has_backup = bytes.size() == kMaxBytes;
  if (keys.has_backup) std::memcpy(&keys.backup, bytes.data() + kKeyBytes, kKeyBytes);
  return keys;
}

size_t FastOpenKeys::write(std::span<std::byte, kMaxBytes> out) const {
  std::memcpy(out.data(), &primary, kKeyBytes);
  if (!has_backup) return kKeyBytes;
  std::memcpy(out.data() + kKeyBytes, &backup, kKeyBytes);
  return kMaxBytes;
}

FastOpenCookie FastOpenKeys::cookie(const FlowKey& flow) const {
  return make_cookie(primary, flow);
}

FastOpenKeys::Match FastOpenKeys::match(const FastOpenCookie& cookie, const FlowKey& flow) const {
  if (cookie == make_cookie(primary, flow)) return Match::kPrimary;
  if (has_backup && cookie == make_cookie(backup, flow)) return Match::kBackup;
  return Match::kNone;
}

FastOpenCache::Entry* FastOpenCache::look_up(const FlowKey& flow) const {
  for (size_t i = 0; i < count_; ++i) {
    Entry& entry = (*entries_)[i];
    if (entry.remote == flow.remote.address && entry.local == flow.local.address) return &entry;
  }
  return nullptr;
}

FastOpenCache::Entry* FastOpenCache::look_up_or_add(const FlowKey& flow, Instant now) {
  if (Entry* known = look_up(flow)) return known;
  if (!entries_) entries_.reset(new (std::nothrow) Entries);
  if (!entries_) return nullptr;
  Entry* entry = count_ < kCapacity ? &(*entries_)[count_++]
                                    : &*std::ranges::min_element(*entries_, {}, &Entry::used);
  *entry = {.local = flow.local.address, .remote = flow.remote.address, .used = now};
  return entry;
}

bool FastOpenCache::should_wait(const FlowKey& flow, Instant now) const {
  const Entry* entry = look_up(flow);
  if (entry == nullptr || entry->losses <= kToleratedLosses) return false;
  return now - entry->lost <
         kLossPause * (int64_t{1} << std::min<unsigned>(entry->losses, kMaxLossShift));
}

const FastOpenCache::Entry* FastOpenCache::find(const FlowKey& flow, Instant now) {
  Entry* entry = look_up(flow);
  if (entry == nullptr || entry->cookie.length == 0 || should_wait(flow, now)) return nullptr;
  entry->used = now;
  return entry;
}

void FastOpenCache::note_cookie(const FlowKey& flow, const FastOpenCookie& cookie, uint16_t mss,
                                Instant now) {
  Entry* entry = look_up_or_add(flow, now);
  if (entry == nullptr) return;
  entry->cookie = cookie;
  entry->mss = mss;
}

void FastOpenCache::note_loss(const FlowKey& flow, Instant now) {
  Entry* entry = look_up_or_add(flow, now);
  if (entry == nullptr) return;
  if (entry->losses < UINT8_MAX) ++entry->losses;
  entry->lost = now;
}

void FastOpenCache::note_success(const FlowKey& flow) {
  if (Entry* entry = look_up(flow)) entry->losses = 0;
}

bool TcpConnection::has_fast_open_cookie() const {
  FastOpen& fast_open = layer_.fast_open_;
  if (fast_open.cache.should_wait(key, context_.now)) return false;
  return options_.fast_open_without_cookie ||
         has(fast_open.mode, FastOpenMode::kClientWithoutCookie) ||
         fast_open.cache.find(key, context_.now) != nullptr;
}

// [RFC 7413] 4.2.1: what the peer took before, and never more than one packet.
uint32_t TcpConnection::syn_data_limit() const {
  const FastOpenCache::Entry* entry = layer_.fast_open_.cache.find(key, context_.now);
  uint32_t mss =
      std::min<uint32_t>(entry != nullptr ? entry->mss : peer_mss_, path_mtu_ - header_size());
  if (options_.max_segment != 0) mss = std::min<uint32_t>(mss, options_.max_segment);
  return mss > kSynOptionSpace ? mss - kSynOptionSpace : 0;
}

bool TcpConnection::defer() {
  prepare_active();
  asks_fast_open_ = has(layer_.fast_open_.mode, FastOpenMode::kClient);
  deferred_ = asks_fast_open_ && has_fast_open_cookie() && syn_data_limit() != 0;
  if (!deferred_) fast_open_failure_ = kNoCookie;
  return deferred_;
}

Result<size_t> TcpConnection::start_with(std::span<const std::byte> bytes) {
  (void)defer();
  size_t taken = 0;
  if (deferred_ && !bytes.empty()) {
    auto appended = queued_.append(bytes.first(std::min<size_t>(bytes.size(), syn_data_limit())));
    taken = appended.value_or(0);  // without memory, the handshake comes first
  }
  start_active();
  return taken;
}

size_t TcpConnection::fill_syn(SegmentFields& fields, std::span<TxPiece> pieces) {
  FastOpen& fast_open = layer_.fast_open_;
  if (fast_open.cache.should_wait(key, context_.now)) return 0;
  bool needs_cookie = !options_.fast_open_without_cookie &&
                      !has(fast_open.mode, FastOpenMode::kClientWithoutCookie);
  if (needs_cookie) {
    const FastOpenCache::Entry* entry = fast_open.cache.find(key, context_.now);
    fields.options.fast_open = entry != nullptr ? entry->cookie : FastOpenCookie{};
  }
  syn_data_ = static_cast<uint32_t>(queued_.size());
  if (syn_data_ == 0) return 0;
  size_t count = queued_.gather(initial_send_ + 1, syn_data_, pieces);
  bytes_sent_ += syn_data_;
  ++data_segments_out_;
  return count;
}

void TcpConnection::receive_fast_open_answer(const TcpSegment& answer) {
  FastOpen& fast_open = layer_.fast_open_;
  if (const auto& cookie = answer.options.fast_open; cookie && cookie->length != 0)
    fast_open.cache.note_cookie(key, *cookie, peer_mss_, context_.now);
  uint32_t taken = answer.acknowledgment - send_next_;
  bytes_acked_ += taken;
  if (retransmits_ == 0) fast_open.cache.note_success(key);
  if (syn_data_ == 0) return;
  syn_data_acked_ = taken == syn_data_;
  context_.counters.add(syn_data_acked_ ? Counter::kTcpExtTCPFastOpenActive
                                        : Counter::kTcpExtTCPFastOpenActiveFail);
  if (!syn_data_acked_) fast_open_failure_ = retransmits_ != 0 ? kSynRetransmitted : kDataNotAcked;
}

}  // namespace aril::net
