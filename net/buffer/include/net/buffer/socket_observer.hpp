#pragma once
#include <cstdint>

#include "base/poll_events.hpp"

namespace aril::net {

/// Whose a socket is, for listings.
struct SocketIdentity {
  uint64_t inode = 0;
  uint32_t user = 0;
};

/// Told when a socket's readiness may have changed.
class SocketObserver {
 public:
  /// `events` are those that may have become true. Called with the stack's lock held, perhaps from
  /// within a call on the same socket: wake waiters, but call no socket method.
  virtual void on_socket_events(PollEvents events) = 0;
  /// Under the stack's lock.
  [[nodiscard]] virtual SocketIdentity socket_identity() const { return {}; }

 protected:
  ~SocketObserver() = default;
};

}  // namespace aril::net
