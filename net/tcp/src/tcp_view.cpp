#include "connection.hpp"
#include "listener.hpp"
#include "net/tcp/tcp_layer.hpp"

namespace aril::net {
namespace {

TcpView view_of(const TcpListener& listener) {
  return {.local = listener.local,
          .state = TcpState::kListen,
          .transmit_queue = listener.backlog,
          .receive_queue = listener.pending_count(),
          .owner = listener.socket != nullptr ? listener.socket->identity() : SocketIdentity{},
          .interface = listener.options.interface,
          .options = &listener.options};
}

void show_timer(TcpView& view, TcpView::Timer timer, Instant deadline, Instant now) {
  view.timer = timer;
  view.timer_left = deadline > now ? deadline - now : Duration{};
}

}  // namespace

TcpInfo TcpView::info() const {
  if (connection != nullptr) return connection->info();
  TcpInfo info{.state = state};
  if (state == TcpState::kListen) {
    info.unacked = static_cast<uint32_t>(receive_queue);
    info.sacked = static_cast<uint32_t>(transmit_queue);
  }
  return info;
}

void TcpConnection::describe(TcpView& view) const {
  view.state = state_;
  view.transmit_queue = queued_.size();
  view.receive_queue = received_.readable();
  if (socket_ != nullptr) view.owner = socket_->identity();
  view.retransmits = retransmits_;
  view.receive_shut = fin_received_;
  view.send_shut = fin_queued_;
  view.is_orphan = is_orphan();
  view.interface = options_.interface;
  view.options = &options_;
  view.connection = this;
  auto deadline = [&](Timer timer) { return deadlines_[static_cast<size_t>(timer)]; };
  if (is_set(Timer::kRetransmit)) {
    show_timer(view, TcpView::Timer::kRetransmit, deadline(Timer::kRetransmit), context_.now);
  } else if (is_set(Timer::kPersist)) {
    show_timer(view, TcpView::Timer::kProbe, deadline(Timer::kPersist), context_.now);
  } else if (is_set(Timer::kKeepAlive)) {
    show_timer(view, TcpView::Timer::kKeepAlive, deadline(Timer::kKeepAlive), context_.now);
  }
}

void TcpLayer::for_each(void (*function)(void*, const TcpView&), void* context) {
  for (TcpPort* port : ports_.buckets())
    for (; port != nullptr; port = port->next_)
      for (TcpListener* listener = port->listeners_; listener != nullptr;
           listener = listener->next_on_port)
        function(context, view_of(*listener));
  flows_.for_each([&](Flow& flow) {
    TcpView view{.local = flow.key.local, .remote = flow.key.remote};
    switch (flow.kind) {
      case Flow::Kind::kConnection:
        static_cast<TcpConnection&>(flow).describe(view);
        break;
      case Flow::Kind::kHalfOpen:
        view.state = TcpState::kSynReceived;
        view.retransmits = static_cast<HalfOpen&>(flow).retransmits;
        show_timer(view, TcpView::Timer::kRetransmit, static_cast<HalfOpen&>(flow).deadline,
                   context_.now);
        break;
      case Flow::Kind::kTimeWait:
        view.state = TcpState::kTimeWait;
        show_timer(view, TcpView::Timer::kTimeWait, static_cast<TimeWait&>(flow).expiry,
                   context_.now);
        break;
    }
    function(context, view);
  });
}

}  // namespace aril::net
