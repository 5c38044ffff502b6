#include "net/unix/unix_channel.hpp"

#include <algorithm>

namespace aril::net {

namespace {

/// Gives the reader what travels with a packet: all of it, or, of a packet that stays, a copy.
void hand_over(UnixPacket& packet, IncomingMessage& message, bool peek) {
  message.source = packet.source;
  message.control.credentials = packet.control.credentials;
  if (peek) {
    message.control.files = packet.control.files;
  } else if (!packet.control.files.empty()) {
    message.control.files = std::move(packet.control.files);
    packet.control.files.clear();
  }
}

}  // namespace

Result<std::unique_ptr<UnixPacket>> UnixPacket::make(IoBuffer& data, size_t count) {
  std::unique_ptr<UnixPacket> packet(new (std::nothrow) UnixPacket);
  if (packet == nullptr) return fail(Errno::kNoMem);
  packet->bytes.reset(new (std::nothrow) std::byte[std::max<size_t>(count, 1)]);
  if (packet->bytes == nullptr) return fail(Errno::kNoMem);
  if (count != 0) packet->length = ARIL_TRY(data.copy_in({packet->bytes.get(), count}));
  return packet;
}

UnixChannel::~UnixChannel() { free_all(packets_); }

void UnixChannel::free_all(PacketList& packets) {
  while (UnixPacket* packet = packets.pop_front()) delete packet;
}

Result<void> UnixChannel::push(std::unique_ptr<UnixPacket>& packet) {
  {
    LockGuard guard(mutex_);
    if (reader_closed_ || writer_closed_) return fail(Errno::kPipe);
    if (packet->length > limit_) return fail(Errno::kMsgSize);
    if (!packets_.empty() && packet->length > limit_ - std::min(limit_, bytes_))
      return fail(Errno::kAgain);
    bytes_ += packet->length;
    packets_.push_back(*packet.release());
  }
  readers.wake_all(std::to_underlying(kReadable));
  return {};
}

size_t UnixChannel::room() {
  LockGuard guard(mutex_);
  return limit_ - std::min(limit_, bytes_);
}

Result<size_t> UnixChannel::take_stream_locked(IncomingMessage& message, PacketList& done) {
  bool peek = has(message.flags, MessageFlags::kPeek);
  size_t total = 0;
  bool first = true;
  for (auto it = packets_.begin(); it != packets_.end() && message.data.remaining() != 0;) {
    UnixPacket& packet = *it;
    ++it;
    // [unix(7)] Ancillary data is a barrier: one read never joins what came with different files.
    if (!first && !packet.control.files.empty()) break;
    size_t count = std::min(packet.rest().size(), message.data.remaining());
    auto copied = message.data.copy_out(packet.rest().first(count));
    if (!copied) {
      if (total == 0) return copied;
      break;
    }
    bool had_files = !packet.control.files.empty();
    if (first) hand_over(packet, message, peek);
    first = false;
    total += *copied;
    if (!peek) {
      packet.taken += *copied;
      bytes_ -= *copied;
      if (packet.taken == packet.length) {
        packet.node.unlink();
        done.push_back(packet);
      }
    }
    if (had_files || *copied < count) break;
  }
  return total;
}

Result<size_t> UnixChannel::take_packet_locked(IncomingMessage& message, PacketList& done) {
  bool peek = has(message.flags, MessageFlags::kPeek);
  UnixPacket& packet = *packets_.front();
  size_t count = std::min(packet.length, message.data.remaining());
  if (count != 0) ARIL_TRY(message.data.copy_out(packet.rest().first(count)));
  hand_over(packet, message, peek);
  size_t length = packet.length;
  if (!peek) {
    bytes_ -= length;
    packet.node.unlink();
    done.push_back(packet);
  }
  if (count == length) return count;
  message.result_flags |= MessageFlags::kTruncated;
  // [recv(2)] MSG_TRUNC asks for the real length.
  return has(message.flags, MessageFlags::kTruncated) ? length : count;
}

Result<size_t> UnixChannel::take(IncomingMessage& message) {
  PacketList done;
  Result<size_t> count = 0;
  {
    LockGuard guard(mutex_);
    if (!packets_.empty()) {
      count = kind_ == Kind::kStream ? take_stream_locked(message, done)
                                     : take_packet_locked(message, done);
    } else if (reset_) {
      reset_ = false;
      return fail(Errno::kConnReset);
    } else if (writer_closed_ || reader_closed_) {
      return 0;
    } else {
      return fail(Errno::kAgain);
    }
  }
  if (!done.empty()) {
    free_all(done);
    writers.wake_all(std::to_underlying(kWritable));
  }
  return count;
}

void UnixChannel::close_writer(Ending ending) {
  {
    LockGuard guard(mutex_);
    if (writer_closed_) return;
    writer_closed_ = true;
    reset_ = ending == Ending::kReset;
  }
  readers.wake_all();
  writers.wake_all();
}

bool UnixChannel::close_reader() {
  PacketList dropped;
  {
    LockGuard guard(mutex_);
    reader_closed_ = true;
    while (UnixPacket* packet = packets_.pop_front()) dropped.push_back(*packet);
    bytes_ = 0;
  }
  bool any = !dropped.empty();
  free_all(dropped);
  readers.wake_all();
  writers.wake_all();
  return any;
}

bool UnixChannel::reader_closed() {
  LockGuard guard(mutex_);
  return reader_closed_;
}

bool UnixChannel::writer_closed() {
  LockGuard guard(mutex_);
  return writer_closed_;
}

PollEvents UnixChannel::poll_reader() {
  LockGuard guard(mutex_);
  PollEvents events = PollEvents::kNone;
  if (!packets_.empty()) events |= kReadable;
  if (writer_closed_ || reader_closed_) events |= kReadable | PollEvents::kRdHup;
  if (reset_) events |= PollEvents::kErr;
  return events;
}

PollEvents UnixChannel::poll_writer() {
  LockGuard guard(mutex_);
  // As Linux's unix_writable: a quarter of the buffer is in use at most, so that writers come in
  // batches; a closed reader makes writing fail at once, which is not waiting.
  return reader_closed_ || bytes_ * 4 <= limit_ ? kWritable : PollEvents::kNone;
}

size_t UnixChannel::readable_bytes() {
  LockGuard guard(mutex_);
  if (kind_ == Kind::kStream) return bytes_;
  return packets_.empty() ? 0 : packets_.front()->length;
}

void UnixChannel::set_limit(size_t limit) {
  LockGuard guard(mutex_);
  limit_ = limit;
}

}  // namespace aril::net
