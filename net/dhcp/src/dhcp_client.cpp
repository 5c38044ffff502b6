#include "net/dhcp/dhcp_client.hpp"

#include <algorithm>
#include <bit>

namespace aril::net {
namespace {

// [RFC 2131] 4.1 begins at 4 s; a virtual network answers at once, so a lost packet is asked again
// sooner. The delay doubles to its 64 s.
constexpr Duration kFirstRetry = Duration::milliseconds(500);
constexpr unsigned kMaxDoublings = 7;
constexpr uint8_t kMaxRequests = 4;
constexpr Duration kMinRenewalRetry = Duration::seconds(60);  // [RFC 2131] 4.4.5
constexpr uint32_t kInfiniteLease = 0xffffffff;
constexpr uint32_t kMinLease = 30, kDefaultLease = 3600;

IpAddress broadcast() { return IpAddress::v4(0xffffffff); }

// A mask with holes is no mask: fall back on a plain one.
uint8_t prefix_of(uint32_t mask) {
  int ones = std::countl_one(mask);
  bool contiguous = ones == 32 || mask << ones == 0;
  return mask != 0 && contiguous ? static_cast<uint8_t>(ones) : 24;
}

bool is_usable(IpAddress address) {
  return !address.is_unspecified() && !address.is_multicast() && !address.is_loopback() &&
         !address.is_limited_broadcast();
}

}  // namespace

DhcpClient::DhcpClient(DhcpHost& host, const EthernetAddress& hardware, std::string_view host_name,
                       uint64_t random)
    : host_(host), hardware_(hardware), random_(random | 1) {
  host_name_length_ = static_cast<uint8_t>(std::min(host_name.size(), host_name_.size()));
  std::copy_n(host_name.begin(), host_name_length_, host_name_.begin());
}

// xorshift64: transaction numbers and jitter need to differ, not to be secret.
uint32_t DhcpClient::next_random() {
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return static_cast<uint32_t>(random_ >> 32);
}

void DhcpClient::start(Instant now) { begin(now); }

void DhcpClient::begin(Instant now) {
  state_ = State::kSelecting;
  attempts_ = 0;
  started_ = now;
  transaction_ = next_random();
  send_discover(now);
}

void DhcpClient::retry_later(Instant now) {
  Duration delay = kFirstRetry * (int64_t{1} << std::min<unsigned>(attempts_, kMaxDoublings));
  // Up to a quarter more, so that many clients started at once spread out.
  Duration jitter = Duration::nanoseconds(delay.ns / 1024 * (next_random() % 256));
  ++attempts_;
  deadline_ = now + delay + jitter;
}

void DhcpClient::send_discover(Instant now) {
  std::byte buffer[DhcpClientMessage::kMaxSize];
  DhcpClientMessage message{.type = DhcpMessageType::kDiscover,
                            .transaction = transaction_,
                            .seconds = static_cast<uint16_t>((now - started_).ns / 1'000'000'000),
                            .hardware = hardware_,
                            .host_name = {host_name_.data(), host_name_length_}};
  retry_later(now);
  host_.send_dhcp(std::span(buffer).first(message.write(buffer)), broadcast());
}

// [RFC 2131] 4.3.2, table 4: what goes where in a DHCPREQUEST depends on the state.
void DhcpClient::send_request(Instant now) {
  std::byte buffer[DhcpClientMessage::kMaxSize];
  DhcpClientMessage message{.type = DhcpMessageType::kRequest,
                            .transaction = transaction_,
                            .seconds = static_cast<uint16_t>((now - started_).ns / 1'000'000'000),
                            .hardware = hardware_,
                            .host_name = {host_name_.data(), host_name_length_}};
  IpAddress destination = broadcast();
  if (state_ == State::kRequesting) {
    message.requested_address = offered_;
    message.server_identifier = server_;
    retry_later(now);
  } else {
    message.client_address = lease_.address;
    Instant end = state_ == State::kRenewing ? lease_.rebind : lease_.expiry;
    if (state_ == State::kRenewing) destination = lease_.server;
    deadline_ = std::min(end, now + std::max((end - now) / 2, kMinRenewalRetry));
  }
  host_.send_dhcp(std::span(buffer).first(message.write(buffer)), destination);
}

void DhcpClient::receive(std::span<const std::byte> bytes, Instant now) {
  auto message = DhcpMessage::parse(bytes);
  if (!message || message->transaction != transaction_ || message->client_hardware != hardware_)
    return;
  switch (message->type) {
    case DhcpMessageType::kOffer:
      // The first offer is as good as any.
      if (state_ != State::kSelecting || !is_usable(message->your_address)) return;
      offered_ = message->your_address;
      server_ = message->server_identifier;
      if (server_.is_unspecified()) return;
      state_ = State::kRequesting;
      attempts_ = 0;
      return send_request(now);
    case DhcpMessageType::kAck:
      if (state_ == State::kRequesting || state_ == State::kRenewing || state_ == State::kRebinding)
        accept(*message, now);
      return;
    case DhcpMessageType::kNak:
      if (state_ == State::kRenewing || state_ == State::kRebinding) {
        host_.lease_lost();
      } else if (state_ != State::kRequesting) {
        return;
      }
      // Not at once: a server that refuses everything must not be asked in a tight loop.
      state_ = State::kSelecting;
      transaction_ = next_random();
      started_ = now;
      attempts_ = std::max<uint8_t>(attempts_, 1);
      return retry_later(now);
    default:
      return;
  }
}

void DhcpClient::accept(const DhcpMessage& message, Instant now) {
  if (!is_usable(message.your_address)) return;
  uint32_t seconds = message.lease_seconds == 0 ? kDefaultLease : message.lease_seconds;
  seconds = std::max(seconds, kMinLease);
  lease_ = DhcpLease{
      .address = message.your_address,
      .gateway = message.gateway,
      .server = message.server_identifier.is_unspecified() ? server_ : message.server_identifier,
      .prefix_length = prefix_of(message.subnet_mask),
      .nameservers = message.nameservers,
      .nameserver_count = message.nameserver_count,
      .mtu = message.interface_mtu,
      .granted = now};
  server_ = lease_.server;
  if (seconds == kInfiniteLease) {
    lease_.renew = lease_.rebind = lease_.expiry = Instant::never();
  } else {
    // [RFC 2131] 4.4.5: T1 at half, T2 at seven eighths, unless the server says otherwise.
    uint32_t rebind = message.rebinding_seconds;
    if (rebind == 0 || rebind >= seconds) rebind = seconds - seconds / 8;
    uint32_t renew = message.renewal_seconds;
    if (renew == 0 || renew >= rebind) renew = std::min(seconds / 2, rebind);
    lease_.renew = now + Duration::seconds(renew);
    lease_.rebind = now + Duration::seconds(rebind);
    lease_.expiry = now + Duration::seconds(seconds);
  }
  state_ = State::kBound;
  attempts_ = 0;
  deadline_ = lease_.renew;
  host_.lease_acquired(lease_);
}

void DhcpClient::poll(Instant now) {
  if (now < deadline_) return;
  switch (state_) {
    case State::kStopped:
      deadline_ = Instant::never();
      return;
    case State::kSelecting:
      return send_discover(now);
    case State::kRequesting:
      if (attempts_ >= kMaxRequests) return begin(now);
      return send_request(now);
    case State::kBound:
      state_ = State::kRenewing;
      transaction_ = next_random();
      started_ = now;
      return send_request(now);
    case State::kRenewing:
      if (now >= lease_.rebind) state_ = State::kRebinding;
      return send_request(now);
    case State::kRebinding:
      if (now < lease_.expiry) return send_request(now);
      host_.lease_lost();
      return begin(now);
  }
}

}  // namespace aril::net
