#include <algorithm>

#include "net/unix/unix_socket.hpp"

namespace aril::net {

namespace {
/// A stream write goes in pieces of at most this.
constexpr size_t kPieceLimit = 32 * 1024;
constinit UnixSocket::SenderIdentity sender_identity = nullptr;
}  // namespace

void UnixSocket::set_sender_identity(SenderIdentity identity) { sender_identity = identity; }

/// Puts on what travels beside the bytes: with the first piece of a write.
void UnixSocket::label(UnixPacket& packet, OutgoingMessage& message) {
  packet.control.credentials = sender_identity != nullptr ? sender_identity() : owner_;
  if (message.control != nullptr) {
    packet.control.files = std::move(message.control->files);
    message.control->files.clear();
    if (message.control->credentials) packet.control.credentials = message.control->credentials;
  }
  LockGuard guard(mutex_);
  packet.source = local_;
}

/// As push(), waiting for room when that is allowed.
Result<void> UnixSocket::push_waiting(UnixChannel& channel, std::unique_ptr<UnixPacket>& packet,
                                      MessageFlags flags) {
  for (;;) {
    auto pushed = channel.push(packet);
    if (pushed || pushed.error() != Errno::kAgain) return pushed;
    if (!may_wait(flags)) return pushed;
    size_t length = packet->length;
    auto waited = channel.writers.wait_until(
        [&] { return channel.room() >= length || channel.reader_closed(); },
        deadline_after(options_.send_timeout));
    if (!waited) return wait_failed(waited.error(), options_.send_timeout);
  }
}

Result<size_t> UnixSocket::send_stream(OutgoingMessage& message) {
  {
    LockGuard guard(mutex_);
    if (state_ != State::kConnected) return fail(Errno::kNotConn);
  }
  if (message.destination != nullptr && message.destination->length != 0)
    return fail(Errno::kIsConn);
  size_t total = 0;
  while (message.data.remaining() != 0) {
    if (out_->reader_closed() || out_->writer_closed()) {
      if (total != 0) return total;
      return fail(Errno::kPipe);
    }
    size_t room = out_->room();
    if (room == 0) {
      if (!may_wait(message.flags)) {
        if (total != 0) return total;
        return fail(Errno::kAgain);
      }
      auto waited = out_->writers.wait_until(
          [&] { return out_->room() != 0 || out_->reader_closed() || out_->writer_closed(); },
          deadline_after(options_.send_timeout));
      if (!waited) {
        if (total != 0) return total;
        return wait_failed(waited.error(), options_.send_timeout);
      }
      continue;
    }
    auto packet =
        UnixPacket::make(message.data, std::min({message.data.remaining(), room, kPieceLimit}));
    if (!packet) {
      if (total != 0) return total;
      return fail(packet.error());
    }
    size_t length = (*packet)->length;
    label(**packet, message);
    // Another writer may have taken the room meanwhile; these bytes are then waited for, or, when
    // that is not allowed, given back as not written.
    auto pushed = push_waiting(*out_, *packet, message.flags);
    if (!pushed) {
      if (total != 0) return total;
      return fail(pushed.error());
    }
    total += length;
  }
  return total;
}

Result<RefPtr<UnixChannel>> UnixSocket::channel_for(const OutgoingMessage& message) {
  if (is_connection_type()) {
    LockGuard guard(mutex_);
    if (state_ != State::kConnected) return fail(Errno::kNotConn);
    return out_;
  }
  if (message.destination != nullptr && message.destination->length != 0) {
    RefPtr<UnixSocket> target = ARIL_TRY(find_target(*message.destination));
    return target->in_;
  }
  LockGuard guard(mutex_);
  if (!datagram_peer_) return fail(Errno::kNotConn);
  return datagram_peer_;
}

Result<size_t> UnixSocket::send_packet(OutgoingMessage& message) {
  RefPtr<UnixChannel> channel = ARIL_TRY(channel_for(message));
  if (message.data.remaining() > UnixChannel::kDefaultLimit) {
    size_t limit = std::max<size_t>(options_.send_buffer, UnixChannel::kDefaultLimit);
    if (message.data.remaining() > limit) return fail(Errno::kMsgSize);
  }
  auto packet = ARIL_TRY(UnixPacket::make(message.data, message.data.remaining()));
  size_t length = packet->length;
  label(*packet, message);
  auto pushed = push_waiting(*channel, packet, message.flags);
  if (!pushed) {
    // [unix(7)] The receiver of a datagram is gone: nobody listens there.
    bool refused = pushed.error() == Errno::kPipe && !is_connection_type();
    return fail(refused ? Errno::kConnRefused : pushed.error());
  }
  return length;
}

Result<size_t> UnixSocket::send(OutgoingMessage& message) {
  if (has(message.flags, MessageFlags::kOutOfBand)) return fail(Errno::kOpNotSupp);
  return type() == SocketType::kStream ? send_stream(message) : send_packet(message);
}

Result<size_t> UnixSocket::receive(IncomingMessage& message) {
  if (has(message.flags, MessageFlags::kOutOfBand)) return fail(Errno::kOpNotSupp);
  if (is_connection_type()) {
    LockGuard guard(mutex_);
    if (state_ != State::kConnected)
      return fail(type() == SocketType::kStream ? Errno::kInval : Errno::kNotConn);
  }
  bool stream = type() == SocketType::kStream;
  if (stream && message.data.remaining() == 0) return 0;
  bool all = stream && has(message.flags, MessageFlags::kWaitAll) &&
             !has(message.flags, MessageFlags::kPeek);
  size_t total = 0;
  for (;;) {
    auto count = in_->take(message);
    if (count) {
      total += *count;
      bool has_files = !message.control.files.empty();
      if (!all || *count == 0 || has_files || message.data.remaining() == 0) break;
      continue;
    }
    if (total != 0 && count.error() != Errno::kAgain) break;
    if (count.error() != Errno::kAgain) return count;
    if (!may_wait(message.flags)) {
      if (total != 0) break;
      return count;
    }
    auto waited = in_->readers.wait_until([&] { return in_->poll_reader() != PollEvents::kNone; },
                                          deadline_after(options_.receive_timeout));
    if (!waited) {
      if (total != 0) break;
      return wait_failed(waited.error(), options_.receive_timeout);
    }
  }
  if (!options_.pass_credentials) message.control.credentials.reset();
  if (is_connection_type()) message.source.length = 0;
  return total;
}

}  // namespace aril::net
