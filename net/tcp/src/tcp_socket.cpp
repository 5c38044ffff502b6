#include "net/tcp/tcp_socket.hpp"

#include <algorithm>

#include "base/unique.hpp"
#include "connection.hpp"
#include "listener.hpp"

namespace aril::net {

TcpSocket::TcpSocket(TcpLayer& layer, IpAddress any)
    : layer_(layer), any_(any), bound_{.address = any} {}

TcpSocket::~TcpSocket() { close(); }

void TcpSocket::set_observer(SocketObserver* observer) { observer_ = observer; }

Result<void> TcpSocket::bind(const Endpoint& local) {
  if (port_ != nullptr || connection_ || listener_) return fail(Errno::kInval);
  if (options_.v6_only && local.address.is_v4()) return fail(Errno::kInval);
  if (local.address.needs_scope() && local.scope == 0) return fail(Errno::kInval);
  if (!local.address.is_unspecified() && !layer_.ip_.is_local(local.address))
    return fail(Errno::kAddrNotAvail);
  port_ = ARIL_TRY(layer_.ports_.bind(*this, local));
  bound_ = {local.address, port_->number(), local.scope};
  return {};
}

Result<void> TcpSocket::listen(unsigned backlog) {
  if (listener_) {
    listener_->backlog = backlog;
    return {};
  }
  if (connection_) return fail(Errno::kInval);
  if (port_ == nullptr) ARIL_TRY(bind({.address = any_}));
  if (!layer_.ports_.can_listen(*this, *port_)) return fail(Errno::kAddrInUse);
  auto listener = ARIL_TRY(try_make_ref<TcpListener>(layer_, *this));
  listener->backlog = backlog;
  listener->next_on_port = port_->listeners_;
  port_->listeners_ = listener.get();
  listener_ = std::move(listener);
  if (layer_.listen_hook_ != nullptr) layer_.listen_hook_(layer_.listen_hook_context_, bound_);
  return {};
}

Result<void> TcpSocket::connect(const Endpoint& remote) {
  ARIL_TRY(prepare_connection(remote));
  if (kHasFastOpen && options_.fast_open_connect && connection_->defer()) return {};
  connection_->start_active();
  return fail(Errno::kInProgress);
}

Result<size_t> TcpSocket::connect(const Endpoint& remote, std::span<const std::byte> bytes) {
  if (!has(layer_.fast_open_.mode, FastOpenMode::kClient)) return fail(Errno::kOpNotSupp);
  ARIL_TRY(prepare_connection(remote));
  size_t taken = ARIL_TRY(connection_->start_with(bytes));
  if (taken == 0) return fail(Errno::kInProgress);
  return taken;
}

bool TcpSocket::is_deferred() const { return connection_ && connection_->is_deferred(); }

Result<void> TcpSocket::set_fast_open_keys(std::span<const std::byte> bytes) {
  FastOpenKeys keys = ARIL_TRY(FastOpenKeys::parse(bytes));
  fast_open_keys_ = ARIL_TRY(try_make_unique<FastOpenKeys>(keys));
  return {};
}

const FastOpenKeys& TcpSocket::fast_open_keys() const {
  return fast_open_keys_ ? *fast_open_keys_ : layer_.fast_open_.keys;
}

Result<void> TcpSocket::prepare_connection(const Endpoint& remote) {
  if (listener_) return fail(Errno::kIsConn);
  if (connection_) {
    if (connection_->is_deferred()) return fail(Errno::kIsConn);  // as Linux
    if (connection_->state() == TcpState::kSynSent) return fail(Errno::kAlready);
    if (connection_->state() != TcpState::kClosed) return fail(Errno::kIsConn);
    Result<void> outcome = take_error();
    if (was_connected_) return fail(outcome ? Errno::kIsConn : outcome.error());
    connection_.reset();
    ARIL_TRY(std::move(outcome));
  }
  if (remote.port == 0 || remote.address.is_multicast() || remote.address.is_limited_broadcast())
    return fail(remote.port == 0 ? Errno::kConnRefused : Errno::kNetUnreach);
  if (options_.v6_only && remote.address.is_v4()) return fail(Errno::kNetUnreach);
  uint32_t link = remote.scope != 0 ? remote.scope : options_.interface;
  Route route = ARIL_TRY(layer_.ip_.route(remote.address, bound_.address, link));
  if (route.is_broadcast) return fail(Errno::kNetUnreach);
  Endpoint peer = remote;
  if (peer.address.is_unspecified()) peer.address = loopback_of(peer.address);
  peer.scope = route.interface->scope_of(peer.address);
  Endpoint local{route.source, bound_.port, route.interface->scope_of(route.source)};
  if (local.port == 0) local.port = ARIL_TRY(layer_.pick_connect_port(peer, local));
  FlowKey flow{local, peer};
  if (!layer_.is_pair_free(flow)) return fail(Errno::kAddrNotAvail);
  connection_ = ARIL_TRY(TcpConnection::create(layer_, flow, route, options_));
  connection_->attach(this);
  error_ = Errno{};
  send_shut_ = receive_shut_ = false;
  return {};
}

void TcpSocket::let_go_of_connection() {
  if (!connection_) return;
  RefPtr<TcpConnection> connection = std::move(connection_);
  connection->abort();
  connection->close();
}

Result<void> TcpSocket::disconnect() {
  if (listener_) return fail(Errno::kInval);
  let_go_of_connection();
  error_ = Errno{};
  was_connected_ = send_shut_ = receive_shut_ = false;
  return {};
}

Result<RefPtr<TcpSocket>> TcpSocket::accept() {
  if (!listener_) return fail(Errno::kInval);
  if (!listener_->has_pending()) return fail(Errno::kAgain);
  auto socket = ARIL_TRY(try_make_ref<TcpSocket>(layer_, any_));
  RefPtr<TcpConnection> connection = listener_->take();
  socket->options_ = connection->options();
  socket->options_.fast_open_queue = 0;
  socket->bound_ = connection->key.local;
  socket->was_connected_ = true;
  if (connection->state() == TcpState::kClosed) socket->error_ = Errno::kConnReset;
  connection->attach(socket.get());
  socket->connection_ = std::move(connection);
  return socket;
}

Result<void> TcpSocket::can_send() const {
  if (send_shut_ || listener_) return fail(Errno::kPipe);
  if (!connection_) return fail(was_connected_ ? Errno::kPipe : Errno::kNotConn);
  if (connection_->state() == TcpState::kClosed || connection_->state() == TcpState::kTimeWait)
    return fail(Errno::kPipe);
  return {};
}

size_t TcpSocket::send_space() const {
  if (error_ != Errno{} || !can_send()) return 0;
  return connection_->send_space();
}

Result<size_t> TcpSocket::send(std::span<const std::byte> bytes, SendFlags flags) {
  ARIL_TRY(take_error());
  ARIL_TRY(can_send());
  if (bytes.empty()) return size_t{0};
  return connection_->send(bytes, flags);
}

Result<size_t> TcpSocket::send(BlockChain& chain, SendFlags flags) {
  ARIL_TRY(take_error());
  ARIL_TRY(can_send());
  if (chain.empty()) return size_t{0};
  return connection_->send(chain, flags);
}

Result<bool> TcpSocket::can_receive(size_t skip) {
  if (listener_ || !connection_) {
    ARIL_TRY(take_error());
    return fail(Errno::kNotConn);
  }
  // As Linux: what came before an error is read first.
  if (connection_->received().readable() > skip) return true;
  ARIL_TRY(take_error());
  if (connection_->has_received_fin() || receive_shut_) return false;
  if (connection_->state() == TcpState::kClosed) {
    if (was_connected_) return false;
    return fail(Errno::kNotConn);
  }
  return fail(Errno::kAgain);
}

Result<BlockChain> TcpSocket::peek(size_t limit, size_t skip) {
  if (!ARIL_TRY(can_receive(skip))) return BlockChain{};
  return connection_->received().peek(limit, skip);
}

Result<size_t> TcpSocket::receive(std::span<std::byte> out) {
  if (!ARIL_TRY(can_receive(0))) return size_t{0};
  size_t count = connection_->received().copy_to(out);
  connection_->consume(count);
  return count;
}

void TcpSocket::consume(size_t count) {
  // The connection may have ended meanwhile; its bytes stay until they are read.
  if (connection_) connection_->consume(std::min(count, connection_->received().readable()));
}

Result<void> TcpSocket::shutdown(Shutdown how) {
  if (listener_) {
    // As Linux: shutting down a listener's receiving side ends listening.
    if (how == Shutdown::kWrite) return {};
    stop_listening();
    notify(PollEvents::kHup | kReadable);
    return {};
  }
  bool usable = connection_ && connection_->state() != TcpState::kClosed &&
                connection_->state() != TcpState::kSynSent;
  if (!usable) return fail(Errno::kNotConn);
  if (how != Shutdown::kWrite) receive_shut_ = true;
  if (how != Shutdown::kRead) {
    send_shut_ = true;
    connection_->shutdown_send();
  }
  PollEvents events = PollEvents::kNone;
  if (receive_shut_) events |= kReadable | PollEvents::kRdHup;
  if (send_shut_) events |= kWritable;
  if (receive_shut_ && send_shut_) events |= PollEvents::kHup;
  notify(events);
  return {};
}

void TcpSocket::stop_listening() {
  TcpListener** link = &port_->listeners_;
  while (*link != listener_.get()) link = &(*link)->next_on_port;
  *link = listener_->next_on_port;
  RefPtr<TcpListener> listener = std::move(listener_);
  listener->close();
}

void TcpSocket::close() {
  if (closed_) return;
  closed_ = true;
  observer_ = nullptr;
  if (listener_) stop_listening();
  if (RefPtr<TcpConnection> connection = std::move(connection_)) connection->close();
  if (port_ != nullptr) layer_.ports_.unbind(*this, *std::exchange(port_, nullptr));
}

bool TcpSocket::is_drained() const { return !connection_ || connection_->is_drained(); }

void TcpSocket::abort() {
  if (connection_) connection_->abort();
  close();
}

PollEvents TcpSocket::events() const {
  if (listener_) return listener_->has_pending() ? kReadable : PollEvents::kNone;
  PollEvents events = error_ != Errno{} ? PollEvents::kErr : PollEvents::kNone;
  bool gone = !connection_ || connection_->state() == TcpState::kClosed ||
              connection_->state() == TcpState::kTimeWait;
  if (gone) {
    // As Linux: an unconnected socket polls as hung up and writable.
    events |= PollEvents::kHup | kWritable;
    if (connection_) events |= kReadable | PollEvents::kRdHup;
    return events;
  }
  events |= connection_->events();
  if (receive_shut_) events |= kReadable | PollEvents::kRdHup;
  bool both = (receive_shut_ || connection_->has_received_fin()) && connection_->is_send_shut();
  if (both) events |= PollEvents::kHup;
  return events;
}

Result<void> TcpSocket::take_error() {
  Errno error = std::exchange(error_, Errno{});
  if (error != Errno{}) return fail(error);
  return {};
}

TcpState TcpSocket::state() const {
  if (listener_) return TcpState::kListen;
  return connection_ ? connection_->state() : TcpState::kClosed;
}

Endpoint TcpSocket::local() const { return connection_ ? connection_->key.local : bound_; }

Result<Endpoint> TcpSocket::remote() const {
  bool connected = connection_ && connection_->state() != TcpState::kClosed &&
                   connection_->state() != TcpState::kSynSent;
  if (!connected) return fail(Errno::kNotConn);
  return connection_->key.remote;
}

size_t TcpSocket::readable_bytes() const {
  return connection_ ? connection_->received().readable() : 0;
}

size_t TcpSocket::unacknowledged_bytes() const {
  return connection_ ? connection_->queued().size() : 0;
}

size_t TcpSocket::unsent_bytes() const {
  if (!connection_) return 0;
  uint32_t end = connection_->queued().end();
  return sequence_before(connection_->next_unsent(), end) ? end - connection_->next_unsent() : 0;
}

Result<void> TcpSocket::set_options(const TcpOptions& options) {
  if (options.max_segment != 0 && options.max_segment < 88) return fail(Errno::kInval);
  options_ = options;
  options_changed();
  return {};
}

void TcpSocket::options_changed() {
  if (connection_) connection_->set_options(options_);
  if (listener_) listener_->options = options_;
}

uint32_t TcpSocket::send_buffer_size() const {
  if (connection_) return connection_->send_buffer();
  return options_.send_buffer != 0 ? options_.send_buffer : 16384;
}

uint32_t TcpSocket::receive_buffer_size() const {
  if (connection_) return connection_->receive_buffer();
  return options_.receive_buffer != 0 ? options_.receive_buffer : 131072;
}

uint16_t TcpSocket::max_segment() const {
  if (connection_) return static_cast<uint16_t>(std::min<uint32_t>(connection_->mss(), 65535));
  return options_.max_segment != 0 ? options_.max_segment : 536;
}

TcpInfo TcpSocket::info() const {
  if (connection_) return connection_->info();
  TcpInfo info;
  info.state = state();
  if (listener_) {
    info.unacked = static_cast<uint32_t>(listener_->pending_count());
    info.sacked = listener_->backlog;
  }
  return info;
}

}  // namespace aril::net
