#include <algorithm>

#include "family_table.hpp"
#include "linux/process/process.hpp"

/// AF_NETLINK, NETLINK_ROUTE [rtnetlink(7)]: answers the dumps of links, addresses and routes that
/// getifaddrs(3), if_nameindex(3) and `ip` ask for. Nothing can be changed; there are no
/// notifications.
namespace aril::linux_abi {

namespace {

/// struct nlmsghdr.
struct NetlinkHeader {
  uint32_t length;
  uint16_t type;
  uint16_t flags;
  uint32_t sequence;
  uint32_t port;
};
/// struct ifinfomsg.
struct LinkMessage {
  uint8_t family, padding;
  uint16_t type;
  int32_t index;
  uint32_t flags, change;
};
/// struct ifaddrmsg.
struct AddressMessage {
  uint8_t family, prefix_length, flags, scope;
  uint32_t index;
};
/// struct rtmsg.
struct RouteMessage {
  uint8_t family, destination_length, source_length, type_of_service;
  uint8_t table, protocol, scope, type;
  uint32_t flags;
};
/// struct rtattr.
struct Attribute {
  uint16_t length;
  uint16_t type;
};
/// struct sockaddr_nl.
struct NetlinkAddress {
  uint16_t family = std::to_underlying(net::Family::kNetlink);
  uint16_t padding = 0;
  uint32_t port = 0;
  uint32_t groups = 0;
};

constexpr uint16_t kError = 2, kDone = 3, kMulti = 2, kRequest = 1, kAcknowledge = 4, kDump = 0x300;
constexpr uint16_t kNewLink = 16, kGetLink = 18, kNewAddress = 20, kGetAddress = 22, kNewRoute = 24,
                   kGetRoute = 26;
constexpr uint32_t kUp = 1, kBroadcast = 2, kLoopback = 8, kRunning = 0x40, kMulticast = 0x1000,
                   kLowerUp = 0x10000;

/// Netlink messages, each aligned to 4, of one answer.
class AnswerWriter {
 public:
  AnswerWriter(uint32_t sequence, uint32_t port) : sequence_(sequence), port_(port) {}

  template <typename Body>
  void begin(uint16_t type, uint16_t flags, const Body& body) {
    start_ = text_.size();
    put(NetlinkHeader{0, type, flags, sequence_, port_});
    put(body);
  }
  template <typename Value>
  void attribute(uint16_t type, const Value& value) {
    bytes(type, std::as_bytes(std::span(&value, 1)));
  }
  void bytes(uint16_t type, std::span<const std::byte> value) {
    put(Attribute{static_cast<uint16_t>(sizeof(Attribute) + value.size()), type});
    text_.append(reinterpret_cast<const char*>(value.data()), value.size());
    text_.resize(align_up(text_.size(), 4));
  }
  void text(uint16_t type, std::string_view value) {
    std::string terminated(value);
    bytes(type, std::as_bytes(std::span(terminated.c_str(), terminated.size() + 1)));
  }
  void finish() {
    auto length = static_cast<uint32_t>(text_.size() - start_);
    memcpy(text_.data() + start_, &length, sizeof(length));
  }
  std::string take() { return std::move(text_); }

 private:
  template <typename T>
  void put(const T& value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  std::string text_;
  size_t start_ = 0;
  uint32_t sequence_, port_;
};

uint32_t network_order(net::IpAddress address) { return std::byteswap(address.v4_value()); }

constexpr uint8_t kInet = std::to_underlying(net::Family::kInet),
                  kInet6 = std::to_underlying(net::Family::kInet6);

/// An address as an attribute of its family's length.
void address_attribute(AnswerWriter& out, uint16_t type, net::IpAddress address) {
  if (address.is_v4()) return out.attribute(type, network_order(address));
  out.attribute(type, net::Ipv6Bytes::of(address));
}

void describe_link(AnswerWriter& out, const net::Interface& interface) {
  constexpr uint16_t kEthernet = 1, kHardwareLoopback = 772;
  constexpr uint16_t kAddress = 1, kBroadcastAddress = 2, kName = 3, kMtu = 4, kQueueLength = 13,
                     kOperationalState = 16;
  uint32_t flags = kUp | kRunning | kLowerUp;
  flags |= interface.is_loopback() ? kLoopback : kBroadcast | kMulticast;
  out.begin(kNewLink, kMulti,
            LinkMessage{.type = interface.is_loopback() ? kHardwareLoopback : kEthernet,
                        .index = static_cast<int32_t>(interface.index()),
                        .flags = flags,
                        .change = ~0u});
  out.text(kName, interface.name());
  out.attribute(kQueueLength, uint32_t{1000});
  out.attribute(kOperationalState, uint8_t{6});  // IF_OPER_UP
  out.attribute(kMtu, interface.mtu());
  out.attribute(kAddress, interface.hardware());
  out.attribute(kBroadcastAddress,
                interface.is_loopback() ? net::EthernetAddress{} : net::kEthernetBroadcast);
  out.finish();
}

void describe_address(AnswerWriter& out, const net::Interface& interface,
                      const net::InterfaceAddress& address) {
  constexpr uint16_t kAddress = 1, kLocal = 2, kLabel = 3, kBroadcastAddress = 4;
  constexpr uint8_t kPermanent = 0x80, kScopeGlobal = 0, kScopeHost = 254;
  uint32_t own = network_order(address.address);
  out.begin(kNewAddress, kMulti,
            AddressMessage{.family = std::to_underlying(net::Family::kInet) & 0xff,
                           .prefix_length = address.prefix_length,
                           .flags = kPermanent,
                           .scope = interface.is_loopback() ? kScopeHost : kScopeGlobal,
                           .index = interface.index()});
  out.attribute(kAddress, own);
  out.attribute(kLocal, own);
  if (!interface.is_loopback())
    out.attribute(kBroadcastAddress, std::byteswap(address.address.v4_value() | ~address.mask()));
  out.text(kLabel, interface.name());
  out.finish();
}

void describe_address(AnswerWriter& out, const net::Interface& interface,
                      const net::Ipv6InterfaceAddress& address, Instant now) {
  constexpr uint16_t kAddress = 1, kCacheInformation = 6;
  constexpr uint8_t kPermanent = 0x80, kDeprecated = 0x20, kOptimistic = 4;
  constexpr uint8_t kScopeGlobal = 0, kScopeLink = 253, kScopeHost = 254;
  uint8_t flags = address.valid_until == Instant::never() ? kPermanent : 0;
  if (address.preferred_until <= now) flags |= kDeprecated;
  if (address.is_optimistic) flags |= kOptimistic;
  auto seconds = [&](Instant end) {
    return end == Instant::never() ? ~0u : static_cast<uint32_t>((end - now).ns / 1'000'000'000);
  };
  out.begin(kNewAddress, kMulti,
            AddressMessage{.family = kInet6,
                           .prefix_length = address.prefix_length,
                           .flags = flags,
                           .scope = interface.is_loopback()           ? kScopeHost
                                    : address.address.is_link_local() ? kScopeLink
                                                                      : kScopeGlobal,
                           .index = interface.index()});
  address_attribute(out, kAddress, address.address);
  // struct ifa_cacheinfo
  uint32_t cache[4] = {seconds(std::max(address.preferred_until, now)),
                       seconds(address.valid_until), 0, 0};
  out.attribute(kCacheInformation, cache);
  out.finish();
}

void describe_route(AnswerWriter& out, const net::RouteEntry& route) {
  constexpr uint16_t kDestination = 1, kOutput = 4, kGateway = 5, kPreferredSource = 7, kTable = 15;
  constexpr uint8_t kMainTable = 254, kProtocolBoot = 3, kProtocolRouter = 9, kScopeLink = 253,
                    kUnicast = 1;
  bool on_link = route.gateway.is_unspecified();
  out.begin(kNewRoute, kMulti,
            RouteMessage{.family = route.network.is_v4() ? kInet : kInet6,
                         .destination_length = route.prefix_length,
                         .table = kMainTable,
                         .protocol = route.is_advertised ? kProtocolRouter : kProtocolBoot,
                         .scope = on_link && route.network.is_v4() ? kScopeLink : uint8_t{0},
                         .type = kUnicast});
  out.attribute(kTable, uint32_t{kMainTable});
  if (route.prefix_length != 0) address_attribute(out, kDestination, route.network);
  if (!on_link) address_attribute(out, kGateway, route.gateway);
  if (!route.source.is_unspecified()) address_attribute(out, kPreferredSource, route.source);
  out.attribute(kOutput, route.interface->index());
  out.finish();
}

class NetlinkSocket final : public net::Socket {
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
      ARIL_TRY(answer(header, family));
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

  Result<void> answer(const NetlinkHeader& request, uint8_t family) {
    if ((request.flags & kRequest) == 0) return {};
    AnswerWriter out(request.sequence, port());
    bool dump = (request.flags & kDump) != 0;
    if (dump && describe(request.type, family, out)) {
      ARIL_TRY(queue_answer(out.take()));
      AnswerWriter done(request.sequence, port());
      done.begin(kDone, kMulti, int32_t{0});
      done.finish();
      return queue_answer(done.take());
    }
    bool is_change = request.type >= kNewLink && (request.type & 3) < 2;
    Errno error = is_change ? Errno::kPerm : Errno::kOpNotSupp;
    struct ErrorBody {
      int32_t error;
      NetlinkHeader request;
    };
    if (request.type < kNewLink && (request.flags & kAcknowledge) != 0) error = Errno{};
    out.begin(kError, 0, ErrorBody{-static_cast<int32_t>(error), request});
    out.finish();
    return queue_answer(out.take());
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
