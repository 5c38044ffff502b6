#include "unix_sockets.hpp"

namespace aril::net {

namespace {
[[clang::no_destroy]] constinit Mutex g_mutex{LockRank::kMutexLeaf};
}  // namespace

[[clang::no_destroy]] constinit UnixSockets::List UnixSockets::list;
constinit size_t UnixSockets::count = 0;

void UnixSockets::add(UnixSocket& socket) {
  LockGuard guard(g_mutex);
  list.push_back(socket);
  ++count;
}

void UnixSockets::remove(UnixSocket& socket) {
  LockGuard guard(g_mutex);
  socket.all_node_.unlink();
  --count;
}

std::vector<RefPtr<UnixSocket>> UnixSockets::all() {
  std::vector<RefPtr<UnixSocket>> sockets;
  size_t expected;
  {
    LockGuard guard(g_mutex);
    expected = count;
  }
  // Nothing is allocated under the lock, nor destroyed: a last reference would take it again.
  sockets.reserve(expected);
  LockGuard guard(g_mutex);
  for (UnixSocket& socket : list) {
    if (sockets.size() == sockets.capacity()) break;
    if (socket.try_add_ref()) sockets.push_back(RefPtr<UnixSocket>::adopt(&socket));
  }
  return sockets;
}

std::vector<UnixView> UnixSocket::views() {
  std::vector<UnixView> views;
  for (const RefPtr<UnixSocket>& socket : UnixSockets::all()) views.push_back(socket->view());
  return views;
}

UnixView UnixSocket::view() {
  LockGuard guard(mutex_);
  const RefPtr<UnixChannel>& to_peer = is_connection_type() ? out_ : datagram_peer_;
  bool is_listener = state_ == State::kListening;
  return {.type = type(),
          .state = is_listener                   ? UnixView::State::kListening
                   : state_ == State::kConnected ? UnixView::State::kConnected
                                                 : UnixView::State::kClosed,
          .receive_shut = in_->reader_closed(),
          .send_shut = to_peer && to_peer->writer_closed(),
          .inode = inode(),
          .peer_inode = to_peer ? to_peer->reader_inode.load(std::memory_order_relaxed) : 0,
          .user = owner_.uid,
          .name = {reinterpret_cast<const char*>(local_.bytes.data()) + sizeof(uint16_t),
                   local_.length - sizeof(uint16_t)},
          .receive_queue = is_listener ? pending_.size() : in_->readable_bytes(),
          .send_queue = is_listener ? backlog_
                        : to_peer   ? to_peer->readable_bytes()
                                    : 0};
}

}  // namespace aril::net
