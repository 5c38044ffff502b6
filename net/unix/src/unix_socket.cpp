#include "net/unix/unix_socket.hpp"

#include <algorithm>

#include "kernel/log/log.hpp"
#include "net/socket/option_names.hpp"
#include "unix_names.hpp"
#include "unix_sockets.hpp"

namespace aril::net {

namespace {

constexpr size_t kFamilyLength = 2;
constexpr size_t kPathLimit = 108;  // sizeof(sun_path)

SocketAddress unnamed() {
  SocketAddress address;
  auto family = std::to_underlying(Family::kUnix);
  memcpy(address.bytes.data(), &family, sizeof(family));
  address.length = kFamilyLength;
  return address;
}

/// The bytes after the family; of a path, up to its NUL.
std::string_view name_of(const SocketAddress& address) {
  std::string_view name(reinterpret_cast<const char*>(address.bytes.data()) + kFamilyLength,
                        address.length - kFamilyLength);
  return name.starts_with('\0') ? name : name.substr(0, name.find('\0'));
}

bool is_abstract(std::string_view name) { return name.starts_with('\0'); }

Result<void> check(const SocketAddress& address) {
  if (address.length < kFamilyLength || address.length > kFamilyLength + kPathLimit ||
      address.family() != Family::kUnix)
    return fail(Errno::kInval);
  return {};
}

}  // namespace

UnixSocket::UnixSocket(SocketType type, OpenFlags flags, RefPtr<UnixChannel> in,
                       RefPtr<UnixChannel> out)
    : Socket(Family::kUnix, type, 0, flags),
      local_(unnamed()),
      peer_(unnamed()),
      in_(std::move(in)),
      out_(std::move(out)) {
  in_->reader_inode.store(inode(), std::memory_order_relaxed);
  UnixSockets::add(*this);
}

Result<RefPtr<UnixSocket>> UnixSocket::make(SocketType type, OpenFlags flags) {
  auto kind =
      type == SocketType::kStream ? UnixChannel::Kind::kStream : UnixChannel::Kind::kPackets;
  auto in = ARIL_TRY(try_make_ref<UnixChannel>(kind));
  RefPtr<UnixChannel> out;
  if (type != SocketType::kDatagram) out = ARIL_TRY(try_make_ref<UnixChannel>(kind));
  return try_make_ref<UnixSocket>(type, flags, std::move(in), std::move(out));
}

Result<RefPtr<Socket>> UnixSocket::create(SocketType type, int protocol, OpenFlags flags) {
  if (protocol != 0 && protocol != std::to_underlying(Family::kUnix))
    return fail(Errno::kProtoNoSupport);
  if (type == SocketType::kRaw) type = SocketType::kDatagram;  // as Linux
  if (type != SocketType::kStream && type != SocketType::kDatagram &&
      type != SocketType::kSeqPacket)
    return fail(Errno::kSockTNoSupport);
  return make(type, flags);
}

Result<std::pair<RefPtr<Socket>, RefPtr<Socket>>> UnixSocket::create_pair(
    SocketType type, int protocol, OpenFlags flags, const PeerCredentials& owner) {
  RefPtr<Socket> made = ARIL_TRY(create(type, protocol, flags));
  auto first = static_ref_cast<UnixSocket>(std::move(made));
  RefPtr<UnixSocket> second;
  if (first->is_connection_type()) {
    second = ARIL_TRY(try_make_ref<UnixSocket>(first->type(), flags, first->out_, first->in_));
  } else {
    second = ARIL_TRY(make(first->type(), flags));
    first->datagram_peer_ = second->in_;
    second->datagram_peer_ = first->in_;
  }
  for (UnixSocket* socket : {first.get(), second.get()}) {
    LockGuard guard(socket->mutex_);
    socket->state_ = State::kConnected;
    socket->peer_owner_ = socket->owner_ = owner;
  }
  return std::pair<RefPtr<Socket>, RefPtr<Socket>>(std::move(first), std::move(second));
}

UnixSocket::~UnixSocket() {
  UnixSockets::remove(*this);
  if (name_) {
    name_->forget_socket();
    abstract_names::remove(*name_);
  }
  if (discard_) return;
  in_->reader_inode.store(0, std::memory_order_relaxed);
  bool unread = in_->close_reader();
  if (out_) {
    // [Linux unix_release_sock] Closing with unread data resets the peer.
    out_->close_writer(unread ? UnixChannel::Ending::kReset : UnixChannel::Ending::kOrderly);
  }
  // Connections that nobody accepted end with their listener; connecting threads find it closed.
  pending_.clear();
}

Result<void> UnixSocket::bind(const SocketAddress& address) {
  ARIL_TRY(check(address));
  {
    LockGuard guard(mutex_);
    if (name_) return fail(Errno::kInval);
  }
  auto name = ARIL_TRY(try_make_ref<UnixName>(*this));
  SocketAddress bound = address;
  std::string_view text = name_of(address);
  if (address.length == kFamilyLength) {
    // [unix(7)] Autobind: five hexadecimal digits, abstract.
    for (unsigned number = 0;; ++number) {
      char digits[8] = {};
      std::string_view digit_text = format_to(std::span(digits).subspan(1), "%05x", number);
      text = {digits, digit_text.size() + 1};
      auto added = abstract_names::add(text, name);
      if (!added && (added.error() != Errno::kAddrInUse || number == 0xfffff)) return added;
      if (!added) continue;
      memcpy(bound.bytes.data() + kFamilyLength, text.data(), text.size());
      bound.length = static_cast<uint32_t>(kFamilyLength + text.size());
      break;
    }
  } else if (is_abstract(text)) {
    ARIL_TRY(abstract_names::add(text, name));
  } else {
    ARIL_TRY(unix_path_names().bind(text, name));
    // As Linux shows it: with its NUL, if that fits.
    bound.length = static_cast<uint32_t>(kFamilyLength + text.size() + 1);
    if (bound.length > kFamilyLength + kPathLimit) bound.length = kFamilyLength + kPathLimit;
  }
  LockGuard guard(mutex_);
  name_ = std::move(name);
  local_ = bound;
  return {};
}

Result<void> UnixSocket::listen(int backlog) {
  if (!is_connection_type()) return fail(Errno::kOpNotSupp);
  {
    LockGuard guard(mutex_);
    if (!name_ || state_ == State::kConnected) return fail(Errno::kInval);
    state_ = State::kListening;
    constexpr unsigned kMaxBacklog = 4096;
    backlog_ = std::min(static_cast<unsigned>(backlog), kMaxBacklog);
  }
  connect_queue_.wake_all();
  return {};
}

Result<RefPtr<UnixSocket>> UnixSocket::find_target(const SocketAddress& address) {
  ARIL_TRY(check(address));
  std::string_view text = name_of(address);
  if (text.empty()) return fail(Errno::kInval);
  RefPtr<UnixName> name =
      ARIL_TRY(is_abstract(text) ? abstract_names::find(text) : unix_path_names().find(text));
  RefPtr<UnixSocket> target = name->socket();
  if (!target) return fail(Errno::kConnRefused);
  if (target->type() != type()) return fail(Errno::kPrototype);
  return target;
}

Result<void> UnixSocket::enqueue(const RefPtr<UnixSocket>& connection) {
  SocketAddress local;
  PeerCredentials owner;
  {
    LockGuard guard(mutex_);
    local = local_;
    owner = owner_;
  }
  {
    // Before it can be accepted, and not under both locks at once.
    LockGuard guard(connection->mutex_);
    connection->local_ = local;
    connection->owner_ = owner;
  }
  {
    LockGuard guard(mutex_);
    if (state_ != State::kListening || in_->reader_closed()) return fail(Errno::kConnRefused);
    if (pending_.size() > backlog_) return fail(Errno::kAgain);
    pending_.push_back(connection);
  }
  accept_queue_.wake_all(std::to_underlying(kReadable));
  return {};
}

Result<void> UnixSocket::connect_stream(UnixSocket& listener) {
  {
    LockGuard guard(mutex_);
    if (state_ == State::kConnected) return fail(Errno::kIsConn);
    if (state_ == State::kListening) return fail(Errno::kInval);
  }
  // The server's end reads what this end writes.
  auto server = ARIL_TRY(try_make_ref<UnixSocket>(type(), OpenFlags{}, out_, in_));
  {
    LockGuard guard(server->mutex_);
    server->state_ = State::kConnected;
    server->peer_ = local_;
    server->peer_owner_ = owner_;
  }
  for (;;) {
    auto queued = listener.enqueue(server);
    if (queued) break;
    if (queued.error() != Errno::kAgain || is_nonblocking()) {
      // The unused end must not close this socket's channels: they may be tried again.
      server->discard_ = true;
      return queued;
    }
    auto waited = listener.connect_queue_.wait_until(
        [&] {
          LockGuard guard(listener.mutex_);
          return listener.pending_.size() <= listener.backlog_ ||
                 listener.state_ != State::kListening;
        },
        deadline_after(options_.send_timeout));
    if (!waited) {
      server->discard_ = true;
      return wait_failed(waited.error(), options_.send_timeout);
    }
  }
  SocketAddress address;
  PeerCredentials peer_owner;
  {
    LockGuard guard(listener.mutex_);
    address = listener.local_;
    peer_owner = listener.owner_;
  }
  LockGuard guard(mutex_);
  state_ = State::kConnected;
  peer_ = address;
  peer_owner_ = peer_owner;
  return {};
}

Result<void> UnixSocket::connect_datagram(const SocketAddress& address) {
  RefPtr<UnixChannel> channel;
  SocketAddress peer = unnamed();
  if (address.family() != Family::kUnspecified) {
    RefPtr<UnixSocket> target = ARIL_TRY(find_target(address));
    channel = target->in_;
    peer = address;
  }
  LockGuard guard(mutex_);
  std::swap(datagram_peer_, channel);
  peer_ = peer;
  state_ = datagram_peer_ ? State::kConnected : State::kIdle;
  return {};
}

Result<void> UnixSocket::connect(const SocketAddress& address) {
  if (!is_connection_type()) return connect_datagram(address);
  RefPtr<UnixSocket> listener = ARIL_TRY(find_target(address));
  return connect_stream(*listener);
}

Result<RefPtr<Socket>> UnixSocket::accept(OpenFlags flags, SocketAddress* peer) {
  if (!is_connection_type()) return fail(Errno::kOpNotSupp);
  for (;;) {
    RefPtr<UnixSocket> connection;
    {
      LockGuard guard(mutex_);
      if (state_ != State::kListening) return fail(Errno::kInval);
      if (!pending_.empty()) {
        connection = std::move(pending_.front());
        pending_.erase(pending_.begin());
      }
    }
    if (connection) {
      connect_queue_.wake_all();
      if (peer != nullptr) *peer = connection->peer_;
      if (has(flags, OpenFlags::kNonBlock))
        ARIL_TRY(connection->set_flags(connection->flags() | OpenFlags::kNonBlock));
      connection->options_.pass_credentials = options_.pass_credentials;
      return connection;
    }
    if (in_->reader_closed()) return fail(Errno::kInval);  // shut down
    if (is_nonblocking()) return fail(Errno::kAgain);
    auto waited = accept_queue_.wait_until(
        [&] {
          LockGuard guard(mutex_);
          return !pending_.empty() || in_->reader_closed();
        },
        deadline_after(options_.receive_timeout));
    if (!waited) return wait_failed(waited.error(), options_.receive_timeout);
  }
}

Result<void> UnixSocket::shutdown(ShutdownSide side) {
  bool listening;
  {
    LockGuard guard(mutex_);
    if (state_ == State::kIdle) return fail(Errno::kNotConn);
    listening = state_ == State::kListening;
  }
  if (side != ShutdownSide::kRead && out_) out_->close_writer(UnixChannel::Ending::kOrderly);
  if (side != ShutdownSide::kWrite) {
    if (out_ && !listening) {
      in_->close_writer(UnixChannel::Ending::kOrderly);
    } else {
      (void)in_->close_reader();
    }
  }
  if (listening) accept_queue_.wake_all();
  return {};
}

Result<SocketAddress> UnixSocket::local_address() {
  LockGuard guard(mutex_);
  return local_;
}

Result<SocketAddress> UnixSocket::peer_address() {
  LockGuard guard(mutex_);
  if (state_ != State::kConnected) return fail(Errno::kNotConn);
  return peer_;
}

PollEvents UnixSocket::poll(PollRegistrar* registrar) {
  if (registrar != nullptr) {
    registrar->watch(in_->readers);
    if (out_) registrar->watch(out_->writers);
    registrar->watch(accept_queue_);
  }
  State state;
  bool pending;
  RefPtr<UnixChannel> peer;
  {
    LockGuard guard(mutex_);
    state = state_;
    pending = !pending_.empty();
    peer = datagram_peer_;
  }
  if (state == State::kListening) {
    if (in_->reader_closed()) return PollEvents::kHup;
    return pending ? kReadable : PollEvents::kNone;
  }
  PollEvents events = in_->poll_reader();
  if (!out_) return events | (peer ? peer->poll_writer() : kWritable);
  if (state == State::kIdle) return events | kWritable | PollEvents::kHup;
  events |= out_->poll_writer();
  if (in_->writer_closed() && (out_->reader_closed() || out_->writer_closed()))
    events |= PollEvents::kHup;
  return events;
}

Result<int64_t> UnixSocket::ioctl(uint32_t request, uint64_t argument) {
  constexpr uint32_t kFionread = 0x541b, kSiocOutq = 0x5411;
  size_t value;
  switch (request) {
    case kFionread:
      if (is_listening()) return fail(Errno::kInval);
      value = in_->readable_bytes();
      break;
    case kSiocOutq:
      value = out_ ? out_->readable_bytes() : 0;
      break;
    default:
      return Socket::ioctl(request, argument);
  }
  ARIL_TRY(UserPtr<int32_t>(argument).write(static_cast<int32_t>(value)));
  return 0;
}

Result<void> UnixSocket::apply_options() {
  if (options_.send_buffer != 0 && out_) out_->set_limit(options_.send_buffer);
  if (options_.receive_buffer != 0 && !out_) in_->set_limit(options_.receive_buffer);
  return {};
}

Result<OptionValue> UnixSocket::get_protocol_option(int level, int name) {
  if (level != SOL_SOCKET || name != SO_PEERCRED) return fail(Errno::kNoProtoOpt);
  LockGuard guard(mutex_);
  return OptionValue::of(peer_owner_);
}

bool UnixSocket::is_listening() {
  LockGuard guard(mutex_);
  return state_ == State::kListening;
}

}  // namespace aril::net
