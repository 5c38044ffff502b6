#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "net/inet/inet_socket.hpp"
#include "netlink_socket.hpp"
#include "sock_diag_filter.hpp"
#include "unix_diag.hpp"

/// NETLINK_SOCK_DIAG [sock_diag(7)] for AF_INET and AF_INET6: TCP, UDP and raw sockets, as `ss`
/// asks for them. A connection is of the family of its addresses. AF_UNIX is unix_diag.cpp's.
namespace aril::linux_abi::netlink {

namespace {

constexpr uint16_t kByFamily = 20;  // SOCK_DIAG_BY_FAMILY
constexpr uint8_t kTcp = 6, kUdp = 17, kRaw = 255;
constexpr size_t kAnswerSize = 16 * kKiB;  // what programs have room for

enum Extension : uint16_t {
  kMemory = 1,
  kInfo = 2,
  kCongestion = 4,
  kTypeOfService = 5,
  kTrafficClass = 6,
  kSocketMemory = 7,
  kShutdown = 8,
  kV6Only = 11,
};

/// struct inet_diag_sockid.
struct SocketId {
  Be<uint16_t> source_port, destination_port;
  std::array<std::byte, 16> source, destination;
  uint32_t interface;
  uint32_t cookie[2];
};
static_assert(sizeof(SocketId) == 48);

/// struct inet_diag_req_v2.
struct Request {
  uint8_t family, protocol, extensions, padding;
  uint32_t states;  ///< a bit for each
  SocketId id;
};
static_assert(sizeof(Request) == 56);

/// struct inet_diag_msg.
struct Message {
  uint8_t family, state, timer, retransmits;
  SocketId id;
  uint32_t expires_ms, receive_queue, transmit_queue, user, inode;
};
static_assert(sizeof(Message) == 72);

std::array<std::byte, 16> bytes_of(net::IpAddress address) {
  std::array<std::byte, 16> bytes{};
  if (address.is_v4()) {
    Be<uint32_t> value = address.v4_value();
    memcpy(bytes.data(), &value, sizeof(value));
  } else {
    auto value = net::Ipv6Bytes::of(address);
    memcpy(bytes.data(), &value, sizeof(value));
  }
  return bytes;
}

SocketId id_of(const net::Endpoint& local, net::Endpoint remote, uint32_t interface) {
  if (remote.address.is_unspecified()) remote.address = net::unspecified_of(local.address);
  return {.source_port = local.port,
          .destination_port = remote.port,
          .source = bytes_of(local.address),
          .destination = bytes_of(remote.address),
          .interface = interface != 0 ? interface : uint32_t{local.scope},
          .cookie = {}};
}

class DiagSocket final : public NetlinkSocket {
 public:
  using NetlinkSocket::NetlinkSocket;

 private:
  /// One request under way.
  struct Dump {
    Request request;
    AnswerWriter out;
    bool is_dump;
    std::optional<SocketFilter> filter = {};
    bool found = false;
    std::vector<std::string> answers = {};

    [[nodiscard]] bool wants(const net::Endpoint& local, unsigned state) const {
      return local.address.is_v4() == (request.family == kInet) &&
             (request.states >> state & 1) != 0;
    }
    [[nodiscard]] bool wants(uint16_t extension) const {
      return (request.extensions >> (extension - 1) & 1) != 0;
    }
    /// Of a request for one socket: the one with exactly these ends.
    [[nodiscard]] bool matches(const SocketId& id) const {
      if (is_dump) return true;
      return !found && id.source_port == request.id.source_port &&
             id.destination_port == request.id.destination_port && id.source == request.id.source &&
             id.destination == request.id.destination;
    }
    bool begin(const net::Endpoint& local, const net::Endpoint& remote, uint32_t interface,
               Message message);
    void end();
    void add(const net::TcpView& view);
    void add(const net::DatagramSocket& socket, uint16_t port);
    void add_memory(size_t receive, size_t transmit);
  };

  Result<void> answer(const NetlinkHeader& header, std::span<const std::byte> body) override;
  void collect(Dump& dump);
};

bool DiagSocket::Dump::begin(const net::Endpoint& local, const net::Endpoint& remote,
                             uint32_t interface, Message message) {
  message.family = request.family;
  message.id = id_of(local, remote, interface);
  if (!matches(message.id)) return false;
  if (filter && !filter->matches({.family = request.family,
                                  .source_port = message.id.source_port,
                                  .destination_port = message.id.destination_port,
                                  .source = message.id.source,
                                  .destination = message.id.destination,
                                  .interface = message.id.interface}))
    return false;
  // What names a socket to who asks again; the inode does, except before there is one.
  message.id.cookie[0] = message.inode;
  out.begin(kByFamily, is_dump ? kMulti : uint16_t{0}, message);
  found = true;
  return true;
}

void DiagSocket::Dump::end() {
  out.finish();
  // Queued when the stack's lock is released: the socket's comes before it.
  if (is_dump && out.size() >= kAnswerSize) answers.push_back(out.take());
}

void DiagSocket::Dump::add_memory(size_t receive, size_t transmit) {
  auto received = static_cast<uint32_t>(receive), sent = static_cast<uint32_t>(transmit);
  if (wants(kMemory)) out.attribute(kMemory, std::array<uint32_t, 4>{received, sent, 0, sent});
  // SK_MEMINFO_*: both allocations beside their limits, what is queued, drops.
  if (wants(kSocketMemory))
    out.attribute(kSocketMemory, std::array<uint32_t, 9>{received, 0, sent, 0, 0, sent});
}

void DiagSocket::Dump::add(const net::TcpView& view) {
  if (!wants(view.local, std::to_underlying(view.state))) return;
  Message message{.state = std::to_underlying(view.state),
                  .timer = std::to_underlying(view.timer),
                  .retransmits = view.retransmits,
                  .expires_ms = static_cast<uint32_t>(view.timer_left.ns / 1'000'000),
                  .receive_queue = static_cast<uint32_t>(view.receive_queue),
                  .transmit_queue = static_cast<uint32_t>(view.transmit_queue),
                  .user = view.owner.user,
                  .inode = static_cast<uint32_t>(view.owner.inode)};
  if (!begin(view.local, view.remote, view.interface, message)) return;
  if (const net::TcpOptions* options = view.options) {
    out.attribute(kShutdown, static_cast<uint8_t>(view.receive_shut | view.send_shut << 1));
    if (wants(kTypeOfService)) out.attribute(kTypeOfService, options->type_of_service);
    if (request.family == kInet6) {
      if (wants(kTrafficClass)) out.attribute(kTrafficClass, options->traffic_class);
      if (view.state == net::TcpState::kListen)
        out.attribute(kV6Only, static_cast<uint8_t>(options->v6_only));
    }
    add_memory(view.receive_queue, view.transmit_queue);
    if (wants(kInfo)) out.attribute(kInfo, net::linux_tcp_info(view.info()));
    if (wants(kCongestion))
      out.text(kCongestion,
               options->congestion == net::CongestionControl::kCubic ? "cubic" : "reno");
  }
  end();
}

void DiagSocket::Dump::add(const net::DatagramSocket& datagrams, uint16_t port) {
  constexpr uint8_t kConnected = 1, kUnconnected = 7;
  auto remote = datagrams.remote();
  uint8_t state = remote ? kConnected : kUnconnected;
  net::Endpoint local = datagrams.local();
  if (!wants(local, state)) return;
  local.port = port;
  net::SocketIdentity owner = datagrams.identity();
  size_t queued = datagrams.next_datagram_size();
  Message message{.state = state,
                  .receive_queue = static_cast<uint32_t>(queued),
                  .user = owner.user,
                  .inode = static_cast<uint32_t>(owner.inode)};
  const net::DatagramOptions& options = datagrams.options();
  if (!begin(local, remote.value_or(net::Endpoint{}), options.interface, message)) return;
  out.attribute(kShutdown, uint8_t{0});
  if (request.family == kInet6) out.attribute(kV6Only, static_cast<uint8_t>(options.v6_only));
  add_memory(queued, 0);
  end();
}

void DiagSocket::collect(Dump& dump) {
  net::Runtime::Guard guard(runtime_);
  if (dump.request.protocol == kTcp) {
    guard->tcp().for_each(
        [](void* context, const net::TcpView& view) { static_cast<Dump*>(context)->add(view); },
        &dump);
  } else if (dump.request.protocol == kUdp) {
    guard->udp().for_each_socket(
        [&](net::UdpSocket& socket) { dump.add(socket, socket.local().port); });
  } else {
    // What is a port elsewhere is the protocol here [raw(7)].
    guard->raw().for_each_socket(
        [&](net::RawSocket& socket) { dump.add(socket, socket.protocol()); });
  }
}

Result<void> DiagSocket::answer(const NetlinkHeader& header, std::span<const std::byte> body) {
  Dump dump{.request = {},
            .out = AnswerWriter(header.sequence, port()),
            .is_dump = (header.flags & kDump) == kDump};
  auto refuse = [&](Errno error) { return conclude(header, fail(error), dump.out); };
  if (header.type != kByFamily || body.empty()) return refuse(Errno::kInval);
  if (std::to_integer<uint8_t>(body[0]) == std::to_underlying(net::Family::kUnix)) {
    auto answers = list_unix_sockets(body, header, port());
    if (!answers) return refuse(answers.error());
    for (std::string& answer : *answers) ARIL_TRY(queue_answer(std::move(answer)));
    return dump.is_dump ? queue_done(header) : conclude(header, {}, dump.out);
  }
  memcpy(&dump.request, body.data(), std::min(body.size(), sizeof(Request)));
  Request& request = dump.request;
  if (request.family != kInet && request.family != kInet6) return refuse(Errno::kNoEnt);
  if (body.size() < sizeof(Request)) return refuse(Errno::kInval);
  if (request.protocol != kTcp && request.protocol != kUdp && request.protocol != kRaw) {
    // As Linux, which has begun the dump when it looks.
    return dump.is_dump ? queue_done(header, fail(Errno::kNoEnt)) : refuse(Errno::kNoEnt);
  }
  constexpr uint16_t kFilter = 1;  // INET_DIAG_REQ_BYTECODE
  if (auto program = Attributes(body.subspan(sizeof(Request))).find(kFilter);
      program && dump.is_dump) {
    auto filter = SocketFilter::create(*program);
    if (!filter) return refuse(filter.error());
    dump.filter = *filter;
  }
  if (!dump.is_dump) request.states = ~0u;
  collect(dump);
  if (!dump.is_dump) return dump.found ? conclude(header, {}, dump.out) : refuse(Errno::kNoEnt);
  for (std::string& answer : dump.answers) ARIL_TRY(queue_answer(std::move(answer)));
  if (std::string rest = dump.out.take(); !rest.empty()) ARIL_TRY(queue_answer(std::move(rest)));
  return queue_done(header);
}

}  // namespace

Result<RefPtr<net::Socket>> create_diag_socket(net::Runtime& runtime, net::SocketType type,
                                               OpenFlags flags) {
  constexpr int kSockDiag = 4;
  return ARIL_TRY(try_make_ref<DiagSocket>(runtime, type, kSockDiag, flags));
}

}  // namespace aril::linux_abi::netlink
