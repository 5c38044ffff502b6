#include "net/raw/raw_layer.hpp"

#include <cstring>

#include "net/ip/binding.hpp"

namespace aril::net {

Result<RefPtr<RawSocket>> RawLayer::create_socket(RawKind kind, uint8_t protocol, IpAddress any) {
  IpProtocol icmp = any.is_v4() ? IpProtocol::kIcmp : IpProtocol::kIcmpv6;
  if (kind == RawKind::kPing && protocol != static_cast<uint8_t>(icmp))
    return fail(Errno::kProtoNoSupport);
  auto socket = ARIL_TRY(try_make_ref<RawSocket>(*this, kind, protocol, any));
  insert(*socket);
  return socket;
}

void RawLayer::insert(RawSocket& socket) {
  socket.bound_ = true;
  socket.next_ = first_;
  first_ = &socket;
  ip_.set_raw(this);
}

void RawLayer::remove(RawSocket& socket) {
  RawSocket** link = &first_;
  while (*link != &socket) link = &(*link)->next_;
  *link = socket.next_;
  if (first_ == nullptr) ip_.set_raw(nullptr);
}

bool RawLayer::is_identifier_taken(uint16_t identifier, const RawSocket& but) const {
  for (const RawSocket* other = first_; other != nullptr; other = other->next_)
    if (other != &but && other->kind_ == RawKind::kPing && other->local_.port == identifier &&
        other->is_v6() == but.is_v6())
      return true;
  return false;
}

bool RawLayer::receive(const IpPacketInfo& info, uint8_t protocol,
                       std::span<const std::byte> payload) {
  bool taken = false;
  RawSocket* next = nullptr;
  for (RawSocket* socket = first_; socket != nullptr; socket = next) {
    next = socket->next_;
    if (!socket->wants(info, protocol, payload)) continue;
    taken = true;
    // [raw(7)] IPv4's begin with the header.
    bool with_header = socket->kind_ == RawKind::kRaw && !socket->is_v6();
    auto seen = with_header ? info.packet : payload;
    if (socket->filter_ && socket->filter_->run(BytesInput(seen)) == 0) continue;
    Endpoint from{info.source, 0, info.interface->scope_of(info.source)};
    if (!socket->enqueue(info, from, seen)) ip_.context().counters.drop(DropReason::kRawQueueFull);
  }
  return taken;
}

void RawLayer::receive_error(const IpError& error, uint8_t protocol,
                             std::span<const std::byte> quoted) {
  for (RawSocket* socket = first_; socket != nullptr; socket = socket->next_) {
    if (socket->protocol_ != protocol || socket->is_v6() == error.destination.is_v4()) continue;
    if (!Binding{socket->local_.address, true}.covers(error.source)) continue;
    if (socket->remote_ && socket->remote_->address != error.destination) continue;
    if (socket->kind_ == RawKind::kPing) {
      // Identifier and sequence number follow the type, code and checksum.
      Be<uint16_t> identifier;
      std::memcpy(&identifier, quoted.data() + 4, sizeof identifier);
      if (identifier.get() != socket->local_.port) continue;
    }
    if (error.redirect != nullptr) {
      (void)ip_.accept_redirect(*error.redirect);
      return;
    }
    bool heard = socket->options_.receive_errors || (socket->remote_ && error.is_fatal);
    if (heard) socket->report_error(error, {error.destination, 0, error.scope}, quoted);
  }
}

}  // namespace aril::net
