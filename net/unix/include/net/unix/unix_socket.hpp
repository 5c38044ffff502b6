#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/socket/socket.hpp"
#include "net/unix/unix_channel.hpp"

namespace aril::net {

class UnixSocket;

/// The name of a bound socket, in the file system or abstract. It outlives the socket, which it
/// does not own: whoever found the name asks it for the socket.
class UnixName final : public RefCounted {
 public:
  explicit UnixName(UnixSocket& socket) : socket_(&socket) {}
  /// Null once the socket is closed.
  RefPtr<UnixSocket> socket();
  void forget_socket();

 private:
  SpinLock lock_{LockRank::kSpinLeaf};
  UnixSocket* socket_;
};

/// Names in the file system are served by a higher layer, which knows it.
struct UnixPathNames {
  /// Makes a socket's file at `path`. kAddrInUse when something is there.
  Result<void> (*bind)(std::string_view path, RefPtr<UnixName> name);
  /// kNoEnt, kAcces; kConnRefused when it is no socket's file, or that of a dead one.
  Result<RefPtr<UnixName>> (*find)(std::string_view path);
};
/// Once, at start-up.
void set_unix_path_names(const UnixPathNames& names);

/// What others may see of a Unix socket.
struct UnixView {
  /// As Linux numbers them, like TCP's.
  enum class State : uint8_t { kConnected = 1, kClosed = 7, kListening = 10 };
  SocketType type;
  State state;
  bool receive_shut, send_shut;
  uint64_t inode, peer_inode;  ///< 0: no peer
  uint32_t user;
  std::string name;  ///< a path with its NUL, or an abstract name
  /// Of a listener: connections that wait, and how many may.
  size_t receive_queue, send_queue;
};

/// A Unix socket [unix(7)]: a stream or packet connection, a listener, or a datagram socket.
///
/// Life cycle: create() or create_pair() -> bind, connect or listen -> ... -> last close. A
/// connection is two channels that both ends share; a datagram socket has one, its inbox, and
/// perhaps a reference to its peer's.
class UnixSocket final : public Socket {
 public:
  /// kSockTNoSupport, kProtoNoSupport, kNoMem.
  static Result<RefPtr<Socket>> create(SocketType type, int protocol, OpenFlags flags);
  static Result<std::pair<RefPtr<Socket>, RefPtr<Socket>>> create_pair(
      SocketType type, int protocol, OpenFlags flags, const PeerCredentials& owner);
  ~UnixSocket() override;
  /// Who sends, for SCM_CREDENTIALS: a socket may be in other hands than its maker's. Once, at
  /// start-up; without it the maker counts.
  using SenderIdentity = PeerCredentials (*)();
  static void set_sender_identity(SenderIdentity identity);
  /// All that exist at some moment during the call. Thread context, no lock. As many as memory is
  /// there for.
  static std::vector<UnixView> views();

  Result<void> bind(const SocketAddress& address) override;
  Result<void> listen(int backlog) override;
  Result<void> connect(const SocketAddress& address) override;
  Result<RefPtr<Socket>> accept(OpenFlags flags, SocketAddress* peer) override;
  Result<void> shutdown(ShutdownSide side) override;
  Result<SocketAddress> local_address() override;
  Result<SocketAddress> peer_address() override;
  Result<size_t> send(OutgoingMessage& message) override;
  Result<size_t> receive(IncomingMessage& message) override;
  PollEvents poll(PollRegistrar* registrar) override;
  Result<int64_t> ioctl(uint32_t request, uint64_t argument) override;

 protected:
  Result<void> apply_options() override;
  Result<OptionValue> get_protocol_option(int level, int name) override;
  bool is_listening() override;

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  enum class State : uint8_t { kIdle, kListening, kConnected };
  UnixSocket(SocketType type, OpenFlags flags, RefPtr<UnixChannel> in, RefPtr<UnixChannel> out);

  static Result<RefPtr<UnixSocket>> make(SocketType type, OpenFlags flags);
  [[nodiscard]] bool is_connection_type() const { return type() != SocketType::kDatagram; }
  Result<RefPtr<UnixSocket>> find_target(const SocketAddress& address);
  Result<void> connect_stream(UnixSocket& listener);
  Result<void> connect_datagram(const SocketAddress& address);
  /// Puts the server's end on the listener's queue. kConnRefused, kAgain when it is full.
  Result<void> enqueue(const RefPtr<UnixSocket>& connection);
  Result<RefPtr<UnixChannel>> channel_for(const OutgoingMessage& message);
  Result<size_t> send_stream(OutgoingMessage& message);
  Result<size_t> send_packet(OutgoingMessage& message);
  Result<void> push_waiting(UnixChannel& channel, std::unique_ptr<UnixPacket>& packet,
                            MessageFlags flags);
  void label(UnixPacket& packet, OutgoingMessage& message);
  UnixView view();
  friend struct UnixSockets;

  Mutex mutex_{LockRank::kSocketState};  // guards what follows
  State state_ = State::kIdle;
  SocketAddress local_, peer_;
  PeerCredentials peer_owner_;
  RefPtr<UnixName> name_;
  std::vector<RefPtr<UnixSocket>> pending_;  // of a listener
  size_t backlog_ = 0;
  RefPtr<UnixChannel> datagram_peer_;
  bool discard_ = false;  // a server's end that no listener took: leaves the channels alone

  const RefPtr<UnixChannel> in_;
  const RefPtr<UnixChannel> out_;  // null for datagram sockets
  WaitQueue accept_queue_;         // of a listener: a connection waits, or it was shut down
  WaitQueue connect_queue_;        // of a listener: there is room for connections
  ListNode all_node_;              // in the list of all
};

}  // namespace aril::net
