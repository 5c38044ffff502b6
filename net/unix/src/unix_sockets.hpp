#pragma once
#include <vector>

#include "base/intrusive_list.hpp"
#include "net/unix/unix_socket.hpp"

namespace aril::net {

/// The list of all Unix sockets. Thread-safe.
struct UnixSockets {
  static void add(UnixSocket& socket);
  static void remove(UnixSocket& socket);
  static std::vector<RefPtr<UnixSocket>> all();

 private:
  using List = IntrusiveList<UnixSocket, &UnixSocket::all_node_>;
  static List list;
  static size_t count;
};

}  // namespace aril::net
