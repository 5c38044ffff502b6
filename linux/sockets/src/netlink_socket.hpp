#pragma once
#include <atomic>
#include <deque>
#include <string>

#include "linux/process/message_sink.hpp"
#include "netlink_messages.hpp"

namespace aril::linux_abi::netlink {

/// What the protocols of AF_NETLINK share [netlink(7)]: requests are answered as they are sent, and
/// answers wait for the program. So do notifications of the groups that it is a member of.
class NetlinkSocket : public net::Socket, public MessageSink {
 public:
  NetlinkSocket(net::Runtime& runtime, net::SocketType type, int protocol, OpenFlags flags)
      : Socket(net::Family::kNetlink, type, protocol, flags), runtime_(runtime) {}

  Result<void> bind(const net::SocketAddress& raw) override;
  Result<void> connect(const net::SocketAddress& raw) override;
  Result<void> shutdown(net::ShutdownSide) override { return fail(Errno::kOpNotSupp); }
  Result<net::SocketAddress> local_address() override;
  Result<net::SocketAddress> peer_address() override;
  Result<size_t> send(net::OutgoingMessage& message) override;
  Result<size_t> receive(net::IncomingMessage& message) override;
  Result<void> deliver(std::span<const std::byte> message) override;
  void* facet(const void* tag) override;
  PollEvents poll(PollRegistrar* registrar) override;

 protected:
  Result<void> set_protocol_option(int level, int name, std::span<const std::byte> value) override;
  Result<net::OptionValue> get_protocol_option(int level, int name) override;

  /// Answers one request, of which `body` lies behind the header.
  virtual Result<void> answer(const NetlinkHeader& request, std::span<const std::byte> body) = 0;

  /// Which groups the program wants to hear, one bit each from group 1 on, has changed.
  virtual void groups_changed() {}
  [[nodiscard]] uint64_t groups() const { return groups_.load(std::memory_order_relaxed); }
  /// A message to a group of which this is a member; under the stack's lock.
  void notify(unsigned group, std::string message);

  [[nodiscard]] uint32_t port();
  /// kNoBufs for a program that asks and does not read.
  Result<void> queue_answer(std::string answer);
  /// The end of a dump, with its outcome.
  Result<void> queue_done(const NetlinkHeader& request, const Result<void>& outcome = {});
  /// What was found, and NLMSG_ERROR where the request failed or wants to know.
  Result<void> conclude(const NetlinkHeader& request, const Result<void>& outcome,
                        AnswerWriter& out);

  net::Runtime& runtime_;

 private:
  struct Queued {
    std::string bytes;
    uint32_t groups = 0;  ///< that it was sent to, as bits
  };
  Result<size_t> take_locked(net::IncomingMessage& message);
  void set_groups(uint64_t groups);
  /// Puts the notifications so far behind what waits already.
  void collect_notifications();

  Mutex mutex_{LockRank::kSocket};
  std::deque<Queued> answers_;
  size_t answer_bytes_ = 0;
  uint32_t port_ = 0;
  std::atomic<uint64_t> groups_{0};
  bool ignores_loss_ = false;  // NETLINK_NO_ENOBUFS

  // Under the stack's lock, under which this socket's cannot be taken.
  std::deque<Queued> notifications_;
  size_t notification_bytes_ = 0;
  std::atomic<bool> has_notifications_{false}, has_lost_{false};
  WaitQueue queue_;
};

/// NETLINK_ROUTE [rtnetlink(7)].
Result<RefPtr<net::Socket>> create_route_socket(net::Runtime& runtime, net::SocketType type,
                                                OpenFlags flags);
/// NETLINK_SOCK_DIAG [sock_diag(7)].
Result<RefPtr<net::Socket>> create_diag_socket(net::Runtime& runtime, net::SocketType type,
                                               OpenFlags flags);

}  // namespace aril::linux_abi::netlink
