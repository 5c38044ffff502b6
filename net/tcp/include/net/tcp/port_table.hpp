#pragma once
#include <array>
#include <cstdint>
#include <span>

#include "base/intrusive_list.hpp"
#include "base/result.hpp"
#include "net/ip/context.hpp"
#include "net/tcp/tcp_socket.hpp"

namespace aril::net {

/// Everything that uses one local TCP port. Exists while something does.
class TcpPort {
 public:
  explicit TcpPort(uint16_t number) : number_(number) {}
  [[nodiscard]] uint16_t number() const { return number_; }

 private:
  friend class PortTable;
  friend class TcpLayer;
  friend class TcpSocket;
  const uint16_t number_;
  TcpPort* next_ = nullptr;
  IntrusiveList<TcpSocket, &TcpSocket::port_node_> bound_;  // sockets that bind() put here
  TcpListener* listeners_ = nullptr;                        // chained
  uint32_t flows_ = 0;                                      // connections and TIME_WAIT records
  uint32_t exclusive_flows_ = 0;                            // those made without SO_REUSEADDR
};

/// Local port allocation with Linux's rules [socket(7)]: SO_REUSEADDR on both sides shares a port
/// unless one listens; TIME_WAIT then does not hinder.
class PortTable {
 public:
  // What Linux's ip_local_port_range has by default.
  static constexpr uint16_t kFirstEphemeral = 32768, kLastEphemeral = 60999;
  static constexpr uint32_t kEphemeralCount = kLastEphemeral - kFirstEphemeral + 1;

  explicit PortTable(StackContext& context) : context_(context) {}
  ~PortTable();

  [[nodiscard]] TcpPort* find(uint16_t number);
  /// Puts `socket` on the port, or on a free one for 0. kAddrInUse, kNoMem.
  Result<TcpPort*> bind(TcpSocket& socket, const Endpoint& local);
  void unbind(TcpSocket& socket, TcpPort& port);
  /// May a socket that is bound here begin to listen?
  [[nodiscard]] bool can_listen(const TcpSocket& socket, const TcpPort& port) const;

  /// Counts a connection or TIME_WAIT record. kNoMem.
  enum class Sharing : uint8_t { kExclusive, kShared };
  Result<TcpPort*> add_flow(uint16_t number, Sharing sharing);
  void remove_flow(TcpPort& port, Sharing sharing);

  /// Nothing has bind()ed or listens here: a connect() may use it beside others.
  [[nodiscard]] bool is_free_for_connect(uint16_t number);
  void release_if_unused(TcpPort& port);
  /// For listings: chains of ports.
  [[nodiscard]] std::span<TcpPort* const> buckets() const { return buckets_; }

 private:
  static constexpr size_t kBuckets = 1024;
  Result<TcpPort*> find_or_create(uint16_t number);
  static bool conflicts(const TcpSocket& socket, const Endpoint& local, TcpPort& port);

  StackContext& context_;
  std::array<TcpPort*, kBuckets> buckets_ = {};
};

}  // namespace aril::net
