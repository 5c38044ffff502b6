#pragma once
#include "base/poll_events.hpp"

namespace aril::net {

/// Told when a socket's readiness may have changed.
class SocketObserver {
 public:
  /// `events` are those that may have become true. Called with the stack's lock held, perhaps from
  /// within a call on the same socket: wake waiters, but call no socket method.
  virtual void on_socket_events(PollEvents events) = 0;

 protected:
  ~SocketObserver() = default;
};

}  // namespace aril::net
