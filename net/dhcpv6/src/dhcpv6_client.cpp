#include "net/dhcpv6/dhcpv6_client.hpp"

#include <algorithm>

namespace aril::net {
namespace {

using State = Dhcpv6Client::State;

constexpr uint32_t kForever = ~0u;
constexpr uint8_t kBestPreference = 255;
// [RFC 8415] 7.6, and 21.23 for the last three
constexpr uint8_t kMaxRequests = 10, kMaxDeclines = 4;
constexpr uint32_t kDefaultRefresh = 86'400, kMinRefresh = 600, kMinLifetime = 60;

/// How long the first answer is waited for, and how long at most [RFC 8415] 7.6.
struct Patience {
  Dhcpv6MessageType type;
  Duration first, longest;
};
Patience patience_of(State state) {
  constexpr Duration kSecond = Duration::seconds(1), kHour = Duration::seconds(3600);
  switch (state) {
    case State::kRequesting:
      return {Dhcpv6MessageType::kRequest, kSecond, Duration::seconds(30)};
    case State::kRenewing:
      return {Dhcpv6MessageType::kRenew, Duration::seconds(10), Duration::seconds(600)};
    case State::kRebinding:
      return {Dhcpv6MessageType::kRebind, Duration::seconds(10), Duration::seconds(600)};
    case State::kDeclining:
      return {Dhcpv6MessageType::kDecline, kSecond, kHour};
    case State::kInforming:
      return {Dhcpv6MessageType::kInformationRequest, kSecond, kHour};
    default:
      return {Dhcpv6MessageType::kSolicit, kSecond, kHour};
  }
}

Instant after(Instant now, uint32_t seconds) {
  return seconds == kForever ? Instant::never() : now + Duration::seconds(seconds);
}

uint32_t share(uint32_t seconds, uint32_t tenths) {
  return seconds == kForever ? kForever : static_cast<uint32_t>(uint64_t{seconds} * tenths / 10);
}

}  // namespace

// xorshift64: transaction numbers and jitter need to differ, not to be secret.
uint32_t Dhcpv6Client::next_random() {
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return static_cast<uint32_t>(random_ >> 32);
}

void Dhcpv6Client::start(bool wants_address, Instant now) {
  bool has_less = state_ == State::kInforming || state_ == State::kInformed;
  if (state_ == State::kStopped || (wants_address && has_less))
    enter(wants_address ? State::kSoliciting : State::kInforming, now);
}

void Dhcpv6Client::enter(State state, Instant now) {
  state_ = state;
  attempts_ = 0;
  retry_ = {};
  exchange_start_ = now;
  transaction_ = next_random() & 0xffffff;
  if (state == State::kSoliciting) forget_address();
  send(now);
}

// [RFC 8415] 15: doubled each time, with a tenth of jitter; the first Solicit's only upwards.
void Dhcpv6Client::set_retry(Instant now) {
  Patience patience = patience_of(state_);
  Duration base = attempts_ == 0 ? patience.first : std::min(retry_ * 2, patience.longest);
  auto jitter = static_cast<int64_t>(next_random() % 2048) - 1024;
  if (attempts_ == 0 && state_ == State::kSoliciting) jitter = (jitter + 1024) / 2 + 1;
  retry_ = base + Duration::nanoseconds(base.ns / 10'240 * jitter);
  deadline_ = now + retry_;
  if (state_ == State::kRenewing) deadline_ = std::min(deadline_, rebind_);
  if (state_ == State::kRebinding) deadline_ = std::min(deadline_, expiry_);
  attempts_ = static_cast<uint8_t>(std::min(attempts_ + 1, 255));
}

void Dhcpv6Client::send(Instant now) {
  set_retry(now);
  bool to_one =
      state_ == State::kRequesting || state_ == State::kRenewing || state_ == State::kDeclining;
  Dhcpv6ClientMessage message{.type = patience_of(state_).type,
                              .transaction = transaction_,
                              .hardware = hardware_,
                              .elapsed = now - exchange_start_,
                              .server = to_one ? &server_ : nullptr,
                              .address = address_};
  std::byte buffer[Dhcpv6ClientMessage::kMaxSize];
  host_.send_dhcpv6(std::span(buffer).first(message.write(buffer)));
}

void Dhcpv6Client::receive(std::span<const std::byte> bytes, Instant now) {
  auto message = Dhcpv6Message::parse(bytes, hardware_);
  if (!message || message->transaction != transaction_) return;
  bool is_reply = message->type == Dhcpv6MessageType::kReply;
  switch (state_) {
    case State::kSoliciting:
      if (!is_reply) return consider(*message, now);
      if (message->is_rapid) accept(*message, now);
      return;
    case State::kRequesting:
    case State::kRenewing:
      if (is_reply && message->server == server_) accept(*message, now);
      return;
    case State::kRebinding:
      if (is_reply) accept(*message, now);
      return;
    case State::kDeclining:
      if (is_reply && message->server == server_) enter(State::kSoliciting, now);
      return;
    case State::kInforming:
      if (is_reply) {
        uint32_t lifetime = std::max(message->refresh.value_or(kDefaultRefresh), kMinRefresh);
        take_name_servers(*message, lifetime);
        state_ = State::kInformed;
        deadline_ = after(now, lifetime);
      }
      return;
    default:
      return;
  }
}

// [RFC 8415] 18.2.9: the best of those that come before the first Solicit would be repeated, then
// the first.
void Dhcpv6Client::consider(const Dhcpv6Message& advertised, Instant now) {
  if (!advertised.address || advertised.valid == 0) return;
  if (!best_preference_ || advertised.preference > *best_preference_) {
    best_preference_ = advertised.preference;
    server_ = advertised.server;
    address_ = advertised.address;
  }
  if (attempts_ > 1 || *best_preference_ == kBestPreference) enter(State::kRequesting, now);
}

// [RFC 8415] 18.2.10.1
void Dhcpv6Client::accept(const Dhcpv6Message& reply, Instant now) {
  if (reply.status == Dhcpv6Status::kUnspecified) return;  // asked again, ever more seldom
  bool is_extending = state_ == State::kRenewing || state_ == State::kRebinding;
  if (reply.status == Dhcpv6Status::kNoBinding && is_extending) {
    server_ = reply.server;
    return enter(State::kRequesting, now);
  }
  bool is_granted = reply.status == Dhcpv6Status::kSuccess && reply.address && reply.valid != 0;
  if (!is_granted) {
    // Renewing is tried again until the end; a refusal of what was advertised begins anew, not at
    // once: a server that refuses everything must not be asked in a tight loop.
    if (is_extending) return;
    state_ = State::kSoliciting;
    return forget_address();
  }
  if (address_ != reply.address) forget_address();
  server_ = reply.server;
  address_ = reply.address;
  is_granted_ = true;
  uint32_t valid = std::max(reply.valid, kMinLifetime);
  uint32_t preferred = std::clamp(reply.preferred, kMinLifetime, valid);
  uint32_t rebind = reply.rebind == 0 || reply.rebind > valid ? share(preferred, 8) : reply.rebind;
  uint32_t renew = reply.renew == 0 || reply.renew > rebind ? share(preferred, 5) : reply.renew;
  expiry_ = after(now, valid);
  rebind_ = after(now, rebind);
  renew_ = after(now, std::min(renew, rebind));
  state_ = State::kBound;
  deadline_ = renew_;
  host_.address_granted(*address_, preferred, valid);
  take_name_servers(reply, valid);
}

void Dhcpv6Client::take_name_servers(const Dhcpv6Message& message, uint32_t lifetime) {
  if (message.name_server_count != 0)
    host_.name_servers_told(std::span(message.name_servers).first(message.name_server_count),
                            lifetime);
}

void Dhcpv6Client::forget_address() {
  if (is_granted_) host_.address_lost(*address_);
  is_granted_ = false;
  address_.reset();
  best_preference_.reset();
}

void Dhcpv6Client::decline(IpAddress address, Instant now) {
  if (!is_granted_ || address_ != address) return;
  is_granted_ = false;
  enter(State::kDeclining, now);
}

void Dhcpv6Client::poll(Instant now) {
  if (now < deadline_) return;
  switch (state_) {
    case State::kStopped:
      deadline_ = Instant::never();
      return;
    case State::kSoliciting:
      return best_preference_ ? enter(State::kRequesting, now) : send(now);
    case State::kRequesting:
      return attempts_ >= kMaxRequests ? enter(State::kSoliciting, now) : send(now);
    case State::kDeclining:
      return attempts_ >= kMaxDeclines ? enter(State::kSoliciting, now) : send(now);
    case State::kBound:
      return enter(State::kRenewing, now);
    case State::kRenewing:
      return now >= rebind_ ? enter(State::kRebinding, now) : send(now);
    case State::kRebinding:
      return now < expiry_ ? send(now) : enter(State::kSoliciting, now);
    case State::kInforming:
      return send(now);
    case State::kInformed:
      return enter(State::kInforming, now);
  }
}

}  // namespace aril::net
