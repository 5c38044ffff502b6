#include "net/udp/udp_layer.hpp"

#include <algorithm>
#include <cstring>

#include "net/ip/binding.hpp"

namespace aril::net {

Result<RefPtr<UdpSocket>> UdpLayer::create_socket(IpAddress any) {
  return try_make_ref<UdpSocket>(*this, any);
}

bool UdpLayer::conflicts(const UdpSocket& socket, const Endpoint& local) {
  for (UdpSocket* other = bucket(local.port); other != nullptr; other = other->next_in_bucket_) {
    if (other == &socket || other->local_.port != local.port) continue;
    Binding wanted{local.address, socket.options_.v6_only};
    bool overlap = wanted.overlaps({other->local_.address, other->options_.v6_only});
    bool same_link = socket.options_.interface == 0 || other->options_.interface == 0 ||
                     socket.options_.interface == other->options_.interface;
    bool shared = (socket.options_.reuse_address && other->options_.reuse_address) ||
                  (socket.options_.reuse_port && other->options_.reuse_port);
    if (overlap && same_link && !shared) return true;
  }
  return false;
}

Result<uint16_t> UdpLayer::pick_port(const UdpSocket& socket, IpAddress address) {
  // [RFC 6056] 3.3.1: from a random start, so that an outsider cannot guess it.
  constexpr uint32_t kCount = kLastEphemeral - kFirstEphemeral + 1;
  auto start = static_cast<uint32_t>(context_.random() % kCount);
  for (uint32_t i = 0; i < kCount; ++i) {
    auto port = static_cast<uint16_t>(kFirstEphemeral + (start + i) % kCount);
    bool taken = false;
    for (UdpSocket* other = bucket(port); other != nullptr; other = other->next_in_bucket_)
      taken |= other->local_.port == port;
    if (!taken && !conflicts(socket, {address, port})) return port;
  }
  return fail(Errno::kAddrInUse);
}

void UdpLayer::insert(UdpSocket& socket) {
  UdpSocket*& head = bucket(socket.local_.port);
  socket.next_in_bucket_ = head;
  head = &socket;
}

void UdpLayer::remove(UdpSocket& socket) {
  UdpSocket** link = &bucket(socket.local_.port);
  while (*link != &socket) link = &(*link)->next_in_bucket_;
  *link = socket.next_in_bucket_;
  socket.next_in_bucket_ = nullptr;
}

// More specific bindings win; -1: not for this socket.
int UdpLayer::score(const UdpSocket& socket, const IpPacketInfo& info, const Endpoint& from,
                    uint16_t port) {
  if (socket.local_.port != port) return -1;
  int points = 0;
  if (!Binding{socket.local_.address, socket.options_.v6_only}.covers(info.destination)) return -1;
  if (!socket.local_.address.is_unspecified()) {
    if (socket.local_.scope != info.interface->scope_of(info.destination)) return -1;
    points += 2;
  }
  if (socket.remote_) {
    if (*socket.remote_ != from) return -1;
    points += 4;
  }
  if (socket.options_.interface != 0) {
    if (socket.options_.interface != info.interface->index()) return -1;
    points += 1;
  }
  return points;
}

UdpSocket* UdpLayer::find(const IpPacketInfo& info, const Endpoint& from, uint16_t port) {
  UdpSocket* best = nullptr;
  int best_score = -1;
  uint32_t equals = 0;
  uint64_t hash = 0;
  for (UdpSocket* socket = bucket(port); socket != nullptr; socket = socket->next_in_bucket_) {
    int points = score(*socket, info, from, port);
    if (points < 0 || points < best_score) continue;
    if (points > best_score) {
      best = socket;
      best_score = points;
      equals = 1;
    } else if (socket->options_.reuse_port && best->options_.reuse_port) {
      // Among equals the flow chooses, and always the same [socket(7) SO_REUSEPORT].
      if (equals == 1) hash = siphash(context_.key, {0x756470, from.address.low(), from.port});
      if (hash % ++equals == 0) best = socket;
    }
  }
  return best;
}

void UdpLayer::deliver(UdpSocket& socket, const IpPacketInfo& info, const Endpoint& from,
                       std::span<const std::byte> payload) {
  auto queued = socket.enqueue(info, from, payload);
  if (queued) return context_.counters.add(Counter::kUdpInDatagrams);
  bool full = queued.error() == Errno::kNoBufs;
  context_.counters.drop(full ? DropReason::kUdpQueueFull : DropReason::kNoMemory);
  context_.counters.add(Counter::kUdpInErrors);
  context_.counters.add(full ? Counter::kUdpRcvbufErrors : Counter::kUdpMemErrors);
}

void UdpLayer::receive(const IpPacketInfo& info, std::span<const std::byte> bytes) {
  auto view = UdpView::parse(bytes, info.source, info.destination, info.checksum);
  if (!view) {
    context_.counters.add(Counter::kUdpInErrors);
    bool checksum = view.error() == UdpError::kChecksum;
    if (checksum) context_.counters.add(Counter::kUdpInCsumErrors);
    return context_.counters.drop(checksum ? DropReason::kBadUdpChecksum : DropReason::kBadUdp);
  }
  Endpoint from{info.source, view->source_port(), info.interface->scope_of(info.source)};
  uint16_t port = view->destination_port();
  if (info.is_broadcast) {
    bool any = false;
    UdpSocket* next = nullptr;
    for (UdpSocket* socket = bucket(port); socket != nullptr; socket = next) {
      next = socket->next_in_bucket_;
      if (score(*socket, info, from, port) < 0 || !socket->wants_group(info)) continue;
      any = true;
      deliver(*socket, info, from, view->payload());
    }
    if (!any) context_.counters.drop(DropReason::kUdpNoSocket);
    return;
  }
  if (UdpSocket* socket = find(info, from, port))
    return deliver(*socket, info, from, view->payload());
  context_.counters.add(Counter::kUdpNoPorts);
  context_.counters.drop(DropReason::kUdpNoSocket);
  if (ip_.is_local(info.destination)) ip_.send_port_unreachable(info);
}

void UdpLayer::receive_error(const IpError& error, std::span<const std::byte> quoted) {
  if (quoted.size() < sizeof(UdpHeader)) return;
  UdpHeader header;
  std::memcpy(&header, quoted.data(), sizeof header);
  Endpoint remote{error.destination, header.destination_port, error.scope};
  for (UdpSocket* socket = bucket(header.source_port); socket != nullptr;
       socket = socket->next_in_bucket_) {
    bool address_matches =
        Binding{socket->local_.address, socket->options_.v6_only}.covers(error.source);
    if (socket->local_.port != header.source_port || !address_matches) continue;
    // [RFC 1122] 4.1.3.3; as Linux, unconnected sockets hear of it only when they ask.
    bool connected = socket->remote_ && *socket->remote_ == remote;
    if (error.redirect != nullptr) {
      if (socket->remote_ && !connected) continue;
      (void)ip_.accept_redirect(*error.redirect);
      return;
    }
    if (error.next_hop_mtu != 0 && (!socket->remote_ || connected))
      ip_.note_path_mtu(error.destination, error.next_hop_mtu);
    if ((connected && error.is_fatal) || socket->options_.receive_errors)
      socket->report_error(error, remote, quoted.subspan(sizeof header));
  }
}

}  // namespace aril::net
