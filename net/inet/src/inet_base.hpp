#pragma once
#include "kernel/sched/mutex.hpp"
#include "net/inet/inet_socket.hpp"

namespace aril::net {

inline constexpr int kIpProtocolIcmp = 1, kIpProtocolTcp = 6, kIpProtocolUdp = 17,
                     kIpProtocolIcmpv6 = 58;

/// What TCP and UDP sockets share: the observer that wakes waiters, and the options of level IP.
/// Lock order: the receive mutex (kSocket), then the stack's.
class InetSocket : public Socket, protected SocketObserver {
 public:
  InetSocket(Runtime& runtime, Family family, SocketType type, int protocol, OpenFlags flags)
      : Socket(family, type, protocol, flags), runtime_(runtime) {}

  PollEvents poll(PollRegistrar* registrar) override {
    if (registrar != nullptr) registrar->watch(queue_);
    Runtime::StateGuard guard(runtime_);
    return events_locked();
  }

 protected:
  [[nodiscard]] virtual PollEvents events_locked() const = 0;
  [[nodiscard]] SocketIdentity socket_identity() const override { return {inode(), owner_.uid}; }
  void on_socket_events(PollEvents events) override { queue_.wake_all(std::to_underlying(events)); }

  /// Waits until one of `events`, an error or a hang-up holds.
  Result<void> wait_for(PollEvents events, Duration timeout) {
    events |= PollEvents::kErr | PollEvents::kHup;
    auto waited = queue_.wait_until(
        [&] {
          Runtime::StateGuard guard(runtime_);
          return has(events_locked(), events);
        },
        deadline_after(timeout));
    if (!waited) return wait_failed(waited.error(), timeout);
    return {};
  }
  /// The index of the interface that SO_BINDTODEVICE names; 0 for "".
  Result<uint32_t> interface_index(std::span<const std::byte> name);
  Result<OptionValue> interface_name();

  Runtime& runtime_;
  WaitQueue queue_;
  Mutex receive_mutex_{LockRank::kSocket};
};

Result<RefPtr<Socket>> create_tcp_socket(Runtime& runtime, Family family, OpenFlags flags);
Result<RefPtr<Socket>> create_udp_socket(Runtime& runtime, Family family, OpenFlags flags);
/// SOCK_RAW of any protocol, or SOCK_DGRAM of the family's ICMP.
Result<RefPtr<Socket>> create_raw_socket(Runtime& runtime, Family family, SocketType type,
                                         int protocol, OpenFlags flags);
/// Null in an image whose program makes none: the linker then leaves out what they need. Set in
/// another file than it is used in: a compiler that sees both calls the function itself.
extern decltype(&create_raw_socket) g_create_raw_socket;

/// "Any" of a family.
constexpr IpAddress any_of(Family family) {
  return family == Family::kInet6 ? IpAddress::v6(0, 0) : IpAddress();
}
/// IPV6_UNICAST_HOPS and its like: -1 is the default. kInval.
Result<int32_t> option_hops(int32_t value, int32_t standard);

}  // namespace aril::net
