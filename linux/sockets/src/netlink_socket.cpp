#include <algorithm>

#include "family_table.hpp"
#include "linux/process/message_sink.hpp"
#include "linux/process/process.hpp"
#include "netlink_messages.hpp"

/// AF_NETLINK, NETLINK_ROUTE [rtnetlink(7)]: answers the dumps of links, addresses and routes that
/// getifaddrs(3), if_nameindex(3) and `ip` ask for, and changes addresses and routes. There are no
/// notifications.
namespace aril::linux_abi {

namespace {

using namespace netlink;

class NetlinkSocket final : public net::Socket, public MessageSink {
 public:
  NetlinkSocket(net::Runtime& runtime, net::SocketType type, OpenFlags flags)
      : Socket(net::Family::kNetlink, type, 0, flags), runtime_(runtime) {}

  Result<void> bind(const net::SocketAddress& raw) override {
    NetlinkAddress address;
    if (raw.length < sizeof(address) || raw.family() != net::Family::kNetlink)
      return fail(Errno::kInval);
    memcpy(&address, raw.bytes.data(), sizeof(address));
    LockGuard guard(mutex_);
    port_ = address.port != 0 ? address.port : static_cast<uint32_t>(owner_.pid);
    return {};
  }
  Result<void> connect(const net::SocketAddress& raw) override {
    return raw.length < sizeof(NetlinkAddress) ? Result<void>(fail(Errno::kInval)) : Result<void>();
  }
  Result<void> shutdown(net::ShutdownSide) override { return fail(Errno::kOpNotSupp); }
  Result<net::SocketAddress> local_address() override {
    LockGuard guard(mutex_);
    return to_address(port_);
  }
  Result<net::SocketAddress> peer_address() override { return to_address(0); }

  Result<size_t> send(net::OutgoingMessage& message) override {
    constexpr size_t kLimit = 4096;
    std::byte bytes[kLimit];
    size_t length = message.data.remaining();
    if (length > kLimit) return fail(Errno::kMsgSize);
    if (ARIL_TRY(message.data.copy_in(std::span(bytes).first(length))) != length)
      return fail(Errno::kFault);
    for (size_t offset = 0; length - offset >= sizeof(NetlinkHeader);) {
      NetlinkHeader header;
      memcpy(&header, bytes + offset, sizeof(header));
      if (header.length < sizeof(header) || header.length > length - offset) break;
      // The first byte of every request's body is the family that it is about; 0 is any.
      uint8_t family = header.length > sizeof(header)
                           ? std::to_integer<uint8_t>(bytes[offset + sizeof(header)])
                           : uint8_t{0};
      ARIL_TRY(answer(
          header, family,
          std::span(bytes).subspan(offset + sizeof(header), header.length - sizeof(header))));
      offset += std::min<size_t>(align_up(size_t{header.length}, 4), length - offset);
    }
    return length;
  }

  Result<size_t> receive(net::IncomingMessage& message) override {
    for (;;) {
      {
        LockGuard guard(mutex_);
        if (!answers_.empty()) return take_locked(message);
      }
      if (!may_wait(message.flags)) return fail(Errno::kAgain);
      auto waited = queue_.wait_until([this] { return poll(nullptr) != kWritable; },
                                      deadline_after(options_.receive_timeout));
      if (!waited) return wait_failed(waited.error(), options_.receive_timeout);
    }
  }
  Result<void> deliver(std::span<const std::byte> message) override {
    // The bytes of a queue of text.
    return queue_answer(std::string(reinterpret_cast<const char*>(message.data()), message.size()));
  }
  void* facet(const void* tag) override {
    return tag == &kMessageSinkTag ? static_cast<MessageSink*>(this) : Socket::facet(tag);
  }
  PollEvents poll(PollRegistrar* registrar) override {
    if (registrar != nullptr) registrar->watch(queue_);
    LockGuard guard(mutex_);
    return answers_.empty() ? kWritable : kWritable | kReadable;
  }

 protected:
  /// NETLINK_* options only shape notifications and errors.
  Result<void> set_protocol_option(int, int, std::span<const std::byte>) override { return {}; }

 private:
  static net::SocketAddress to_address(uint32_t port) {
    NetlinkAddress address;
    address.port = port;
    net::SocketAddress raw;
    raw.length = sizeof(address);
    memcpy(raw.bytes.data(), &address, sizeof(address));
    return raw;
  }

  Result<size_t> take_locked(net::IncomingMessage& message) {
    const std::string& next = answers_.front();
    size_t length = next.size();
    size_t count = std::min(length, message.data.remaining());
    if (count != 0) ARIL_TRY(message.data.copy_out(std::as_bytes(std::span(next)).first(count)));
    message.source = to_address(0);
    if (!has(message.flags, net::MessageFlags::kPeek)) answers_.erase(answers_.begin());
    if (count == length) return count;
    message.result_flags |= net::MessageFlags::kTruncated;
    return has(message.flags, net::MessageFlags::kTruncated) ? length : count;
  }

  Result<void> queue_answer(std::string answer) {
    // A program that asks and does not read is told so, as by Linux's full receive buffer.
    constexpr size_t kMaxAnswers = 64;
    {
      LockGuard guard(mutex_);
      if (answers_.size() >= kMaxAnswers) return fail(Errno::kNoBufs);
      answers_.push_back(std::move(answer));
    }
    queue_.wake_all(std::to_underlying(kReadable));
    return {};
  }

  uint32_t port() {
    LockGuard guard(mutex_);
    if (port_ == 0) port_ = static_cast<uint32_t>(owner_.pid);
    return port_;
  }

  Result<void> answer(const NetlinkHeader& request, uint8_t family,
                      std::span<const std::byte> body) {
    if ((request.flags & kRequest) == 0) return {};
    AnswerWriter out(request.sequence, port());
    bool dump = (request.flags & kDump) == kDump;
    if (dump && describe(request.type, family, out)) {
      ARIL_TRY(queue_answer(out.take()));
      AnswerWriter done(request.sequence, port());
      done.begin(kDone, kMulti, int32_t{0});
      done.finish();
      return queue_answer(done.take());
    }
    Result<void> outcome = serve(request, body, out);
    bool acknowledges = (request.flags & kAcknowledge) != 0;
    if (std::string found = out.take(); outcome && !found.empty()) {
      ARIL_TRY(queue_answer(std::move(found)));
      if (!acknowledges) return {};
    }
    if (outcome && !acknowledges) return {};
    struct ErrorBody {
      int32_t error;
      NetlinkHeader request;
    };
    AnswerWriter verdict(request.sequence, port());
    int32_t error = outcome ? 0 : -static_cast<int32_t>(outcome.error());
    verdict.begin(kError, 0, ErrorBody{error, request});
    verdict.finish();
    return queue_answer(verdict.take());
  }

  Result<void> serve(const NetlinkHeader& request, std::span<const std::byte> body,
                     AnswerWriter& out) {
    if (request.type < kNewLink) return {};
    bool is_change = (request.type & 3) < 2;
    if (is_change && !current_task().credentials.can(Capability::kNetAdmin))
      return fail(Errno::kPerm);
    net::Runtime::Guard guard(runtime_);
    return is_change ? change(guard->ip(), request.type, body)
                     : look_up(guard->ip(), request.type, body, out);
  }

  bool describe(uint16_t type, uint8_t family, AnswerWriter& out) {
    bool with_v4 = family != kInet6, with_v6 = family != kInet;
    net::Runtime::Guard guard(runtime_);
    net::IpLayer& ip = guard->ip();
    if (type == kGetRoute) {
      for (const net::RouteEntry& route : ip.routes())
        if (route.network.is_v4() ? with_v4 : with_v6) describe_route(out, route);
      return true;
    }
    if (type == kGetNeighbour) {
      ip.neighbours().for_each([&](const net::Neighbours::View& neighbour) {
        if (neighbour.address.is_v4() ? with_v4 : with_v6) describe_neighbour(out, neighbour);
      });
      return true;
    }
    if (type != kGetLink && type != kGetAddress) return false;
    for (uint32_t i = 1; i <= ip.interface_count(); ++i) {
      const net::Interface& interface = *ip.interface(i);
      if (type == kGetLink) {
        describe_link(out, interface);
        continue;
      }
      if (with_v4)
        for (const net::InterfaceAddress& address : interface.addresses())
          describe_address(out, interface, address);
      if (!with_v6) continue;
      for (const net::Ipv6InterfaceAddress& address : interface.ipv6_addresses())
        describe_address(out, interface, address, ip.context().now);
    }
    return true;
  }

  net::Runtime& runtime_;
  Mutex mutex_{LockRank::kSocket};
  std::vector<std::string> answers_;
  uint32_t port_ = 0;
  WaitQueue queue_;
};

}  // namespace

Result<RefPtr<net::Socket>> create_netlink_socket(net::Runtime& runtime, net::SocketType type,
                                                  int protocol, OpenFlags flags) {
  if (type != net::SocketType::kRaw && type != net::SocketType::kDatagram)
    return fail(Errno::kSockTNoSupport);
  if (protocol != 0) return fail(Errno::kProtoNoSupport);  // NETLINK_ROUTE alone
  return ARIL_TRY(try_make_ref<NetlinkSocket>(runtime, type, flags));
}

}  // namespace aril::linux_abi
