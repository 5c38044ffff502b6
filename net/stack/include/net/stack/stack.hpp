#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "net/buffer/timer_wheel.hpp"
#include "net/ip/counters.hpp"
#include "net/ip/interface.hpp"
#include "net/ip/ip_layer.hpp"
#include "net/packet/packet_layer.hpp"
#include "net/raw/raw_layer.hpp"
#include "net/tcp/tcp_layer.hpp"
#include "net/tcp/tcp_socket.hpp"
#include "net/udp/udp_layer.hpp"
#include "net/udp/udp_socket.hpp"

namespace aril::net {

struct StackConfig {
  /// Secrets for sequence numbers, ports, cookies and hashes: from a good random source.
  uint64_t secret[2] = {};
  /// A further random value, for sequences that need only be unpredictable in detail.
  uint64_t seed = 0;
  /// What queues of all sockets together may hold.
  size_t memory_limit = 64 << 20;
  Instant now;
};

/// The whole TCP/IP stack: a state machine without clock, threads or I/O. Frames, the time and
/// secrets come in as arguments; frames leave through each interface's LinkSink.
///
/// Single-threaded: its owner (net/runtime) serialises every call on it and on its sockets.
/// Time moves when the owner says so: advance() before a batch of calls.
class Stack {
 public:
  /// With the loopback interface "lo", 127.0.0.1/8 and ::1, as interface 1. kNoMem.
  static Result<std::unique_ptr<Stack>> create(const StackConfig& config);
  ~Stack();

  /// Never moves back.
  void advance(Instant now);
  [[nodiscard]] Instant now() const { return context_.now; }

  /// `sink` outlives the stack. Indices count up from 2. kNoMem.
  Result<Interface*> add_interface(const InterfaceConfig& config, LinkSink& sink);
  [[nodiscard]] IpLayer& ip() { return ip_; }
  [[nodiscard]] TcpLayer& tcp() { return tcp_; }
  [[nodiscard]] UdpLayer& udp() { return udp_; }
  /// Both are made when they are first asked for, so that an image without those who ask has none
  /// of their code.
  [[nodiscard]] RawLayer& raw() { return raw_ ? *raw_ : raw_.emplace(ip_); }
  [[nodiscard]] PacketLayer& packets() { return packets_ ? *packets_ : packets_.emplace(ip_); }
  [[nodiscard]] Counters& counters() { return context_.counters; }
  /// Unpredictable to outsiders.
  uint64_t random() { return context_.random(); }

  /// `any`: 0.0.0.0 or ::, for the socket's family. kNoMem.
  Result<RefPtr<TcpSocket>> create_tcp_socket(IpAddress any = {}) {
    return tcp_.create_socket(any);
  }
  Result<RefPtr<UdpSocket>> create_udp_socket(IpAddress any = {}) {
    return udp_.create_socket(any);
  }

  /// One frame from the link, in whatever state it arrived. Its bytes are not used after return.
  void receive(Interface& interface, std::span<const std::byte> frame, ChecksumState checksum);
  /// Delivers what was sent over loopback, and what that causes, up to a bound. True when more is
  /// left.
  bool run_loopback();
  /// Runs what is due at now().
  void poll_timers();
  /// When poll_timers() next has something to do; Instant::never() when nothing is armed. May be
  /// early.
  [[nodiscard]] Instant next_deadline() const { return context_.timers.next_deadline(); }

 private:
  explicit Stack(const StackConfig& config);

  StackContext context_;
  IpLayer ip_;
  TcpLayer tcp_;
  UdpLayer udp_;
  std::optional<RawLayer> raw_;
  std::optional<PacketLayer> packets_;
};

}  // namespace aril::net
